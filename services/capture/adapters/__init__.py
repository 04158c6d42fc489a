"""What capture stands on: its database."""

"""What a service keeps: its database, and artifacts."""

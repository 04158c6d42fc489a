"""How Ratchet is run: set-up, the `ratchet` command, the supervisor, topics, deployment."""

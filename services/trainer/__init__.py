"""The trainer: datasets into adapters, each by a stored job that runs in a child process."""

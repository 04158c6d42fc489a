"""Proves that a service's state follows from the log: rebuilt by its own handlers, compared."""

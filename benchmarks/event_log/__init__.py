"""The event logs of a laptop beside each other."""

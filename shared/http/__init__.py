"""The HTTP side that all services have alike."""

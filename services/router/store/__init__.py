"""The SQL of the router."""

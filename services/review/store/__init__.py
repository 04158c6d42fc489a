"""The SQL of review."""

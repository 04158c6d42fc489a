"""What review stands on: SQL tables for the queue, the artifact store for large contents."""

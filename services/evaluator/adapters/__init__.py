"""What stands behind the ports: the engine, and the child processes that make reports."""

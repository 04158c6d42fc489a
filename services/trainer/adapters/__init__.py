"""Adapters: what stands behind the ports, and the tables."""

"""Runs all of Ratchet on one machine: supervisor, event log, keys, ports and databases."""

"""Runs the whole of Ratchet on one machine: the supervisor, its event log, keys, ports and
databases.
"""

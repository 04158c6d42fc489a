"""Contracts of Ratchet: every event, the topic map, and the route specification. Imports pydantic
only.
"""

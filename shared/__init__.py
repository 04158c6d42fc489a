"""Plumbing that knows no service: bus, outbox, jobs, database, blobs, http, auth, errors, settings,
telemetry.
"""

"""The process clock, in one place so that tests can replace it. Leases use the database's clock instead (jobs.py)."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)

"""The process clock, in one place so that tests can replace it. Leases use the database's clock
instead (jobs.py).
"""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def utc(at: datetime) -> datetime:
    """SQLite gives times back without their zone."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)

"""The process clock, in one place so that tests can replace it. Leases use the database's clock
instead (jobs/).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from shared.errors import Retryable
from shared.telemetry import log

HOUR_SECONDS = 3600.0


def now() -> datetime:
    return datetime.now(UTC)


def utc(at: datetime) -> datetime:
    """Return the moment with its zone, which SQLite leaves out."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


async def hourly(once: Callable[[], Awaitable[object]]) -> None:
    """Call `once` every hour until cancelled. What cannot be done now is tried again in an hour."""
    while True:
        try:
            await once()
        except Retryable as error:
            log("housekeeping").warning("put off", error=error.name)
        await asyncio.sleep(HOUR_SECONDS)

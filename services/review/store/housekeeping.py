"""Forgets, once an hour, what waited for late feedback longer than it is kept (content is personal
data).
"""

from __future__ import annotations

import time

from services.review.store.arrivals import SqlArrivals
from shared.events.housekeeping import hourly
from shared.storage.db import Database
from shared.telemetry import log

DAY_SECONDS = 86_400.0


class Housekeeping:
    def __init__(self, db: Database, arrivals: SqlArrivals, keep_days: float) -> None:
        self.db = db
        self.arrivals = arrivals
        self.keep_seconds = keep_days * DAY_SECONDS

    async def run(self) -> None:
        """For ever."""
        await hourly(self.once)

    async def once(self) -> int:
        async with self.db.transaction() as tx:
            forgotten = await self.arrivals.forget(tx, time.time() - self.keep_seconds)
        if forgotten:
            log("housekeeping").info("forgotten", answers=forgotten)
        return forgotten

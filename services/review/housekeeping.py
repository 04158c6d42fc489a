"""Forgets answers nobody was asked to review: their content is personal data."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from services.review.store.arrivals import Arrivals
from services.review.store.budgets import Budgets
from services.review.store.comparisons import Comparisons
from shared.clock import hourly
from shared.storage import Database
from shared.telemetry import log

DAY_SECONDS = 86_400.0


class Housekeeping:
    def __init__(
        self,
        db: Database,
        arrivals: Arrivals,
        budgets: Budgets,
        comparisons: Comparisons,
        keep_days: float,
    ) -> None:
        self.db = db
        self.arrivals = arrivals
        self.budgets = budgets
        self.comparisons = comparisons
        self.keep_seconds = keep_days * DAY_SECONDS

    async def run(self) -> None:
        """Forget once an hour until cancelled."""
        await hourly(self.once)

    async def once(self) -> int:
        """Forget what is older than it may be kept; return how many answers that were."""
        before = time.time() - self.keep_seconds
        forgotten = await self.arrivals.forget(self.db, before)
        async with self.db.transaction() as tx:
            await self.arrivals.forget_skips(tx)
            await self.comparisons.forget(tx, before)
            await self.budgets.forget(tx, datetime.fromtimestamp(before, UTC).date().isoformat())
        if forgotten:
            log("housekeeping").info("forgotten", answers=forgotten)
        return forgotten

"""How much is open and how much was done, by route, reason and reviewer."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Row, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.review.ports import Counts
from services.review.store.tables import Tables
from shared.http.auth import Principal
from shared.storage.db import Database

MEDIAN_OF = 1000  # the newest verdicts; the median of a whole history would hide how it goes today


class SqlStatistics:
    def __init__(self, db: Database, tables: Tables) -> None:
        self.items = tables.items
        self.clock = db.clock()

    async def open_count(self, tx: AsyncConnection, tenant: str, route: str | None) -> int:
        conditions = [*self._in(tenant, "open"), *([self.items.c.route == route] if route else [])]
        return (await tx.execute(select(func.count()).where(*conditions))).scalar_one()

    async def takeable_count(self, tx: AsyncConnection, who: Principal, route: str | None) -> int:
        """Open, and not in another reviewer's hands."""
        free = or_(self.items.c.claimed_until < self.clock, self.items.c.claimed_by == who.id)
        conditions = [
            *self._in(who.tenant, "open"),
            free,
            *([self.items.c.route == route] if route else []),
        ]
        return (await tx.execute(select(func.count()).where(*conditions))).scalar_one()

    async def done_since(
        self, tx: AsyncConnection, tenant: str, reviewer: str, since: float
    ) -> int:
        own = (
            *self._in(tenant, "done"),
            self.items.c.reviewer == reviewer,
            self.items.c.done_at >= since,
        )
        return (await tx.execute(select(func.count()).where(*own))).scalar_one()

    async def counts(self, tx: AsyncConnection, tenant: str) -> Counts:
        opened = await self._grouped(
            tx, self._in(tenant, "open"), self.items.c.route, self.items.c.reason
        )
        today = (*self._in(tenant, "done"), self.items.c.done_at >= midnight())
        done = await self._grouped(tx, today, self.items.c.route, self.items.c.reviewer)
        return Counts(
            summed(opened, 0),
            summed(opened, 1),
            summed(done, 1),
            summed(done, 0),
            await self._median(tx, tenant),
        )

    async def _grouped(self, tx: AsyncConnection, where: tuple, *by: ColumnElement) -> list[Row]:
        return list(
            await tx.execute(select(*by, func.count()).where(*where).group_by(*by).order_by(*by))
        )

    async def _median(self, tx: AsyncConnection, tenant: str) -> float | None:
        timed = select(self.items.c.seconds).where(
            *self._in(tenant, "done"), self.items.c.seconds.is_not(None)
        )
        newest = [
            row.seconds
            for row in await tx.execute(
                timed.order_by(self.items.c.done_at.desc()).limit(MEDIAN_OF)
            )
        ]
        return round(sorted(newest)[len(newest) // 2], 3) if newest else None

    def _in(self, tenant: str, state: str) -> tuple:
        return self.items.c.tenant == tenant, self.items.c.state == state


def summed(rows: list[Row], column: int) -> dict[str, int]:
    """Counts per value of one column. Audited items count as sampled: reviewers must not tell them
    apart.
    """
    totals: dict[str, int] = {}
    for row in rows:
        key = "sampled" if row[column] == "audit" else row[column]
        totals[key] = totals.get(key, 0) + row[-1]
    return totals


def midnight() -> float:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()

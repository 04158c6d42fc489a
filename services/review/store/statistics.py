"""How much is open and how much was done, by route, reason and reviewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, case, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.review.store.tables import Tables
from shared.http import Principal
from shared.storage import Database

# The newest verdicts; the median of a whole history would hide how it goes today.
MEDIAN_OF = 1000

Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True)
class Counts:
    """Open items, verdicts since midnight UTC, the median time of the last 1,000 verdicts; how many
    open items nobody gets for now, how many somebody skipped, and how many are decided already and
    wait for a second person.
    """

    open_by_route: dict[str, int]
    open_by_reason: dict[str, int]
    done_today_by_reviewer: dict[str, int]
    done_today_by_route: dict[str, int]
    p50_seconds: float | None
    put_off: int
    skipped: int
    second_looks: int


@dataclass(frozen=True)
class Undecided:
    """How many audited answers of a route nobody has decided, and how many of these somebody
    skipped: they are missing from what a certificate counts.
    """

    open: int
    skipped: int


@dataclass(frozen=True)
class Group:
    """How many items a route has of one kind: with the same reason, or of the same reviewer."""

    route: str
    kind: str
    items: int


class Statistics:
    def __init__(self, db: Database, tables: Tables) -> None:
        self.items = tables.items
        self.skips = tables.skips
        self.clock = db.clock()

    async def open_count(self, tx: AsyncConnection, who: Principal, route: str | None) -> int:
        """Count what is open, but for what this reviewer has decided: others look at it again."""
        return await self._count(
            tx, (*self._in(who.tenant, "open"), self._for(who), *self._on(route))
        )

    async def takeable_count(self, tx: AsyncConnection, who: Principal, route: str | None) -> int:
        """Count what is open and not in another reviewer's hands."""
        free = or_(self.items.c.claimed_until < self.clock, self.items.c.claimed_by == who.id)
        mine = (*self._in(who.tenant, "open"), free, self._for(who), *self._on(route))
        return await self._count(tx, mine)

    async def put_off_count(self, tx: AsyncConnection, tenant: str, route: str | None) -> int:
        """Count what was skipped because its content cannot be shown, and is not back yet."""
        away = (self.items.c.claimed_by.is_(None), self.items.c.claimed_until >= self.clock)
        return await self._count(tx, (*self._in(tenant, "open"), *away, *self._on(route)))

    async def done_since(
        self, tx: AsyncConnection, tenant: str, reviewer: str, since: float
    ) -> int:
        """Count a reviewer's verdicts since a time in seconds since the epoch."""
        own = (self.items.c.reviewer == reviewer, self.items.c.done_at >= since)
        return await self._count(tx, (*self._in(tenant, "done"), *own))

    async def counts(self, tx: AsyncConnection, tenant: str) -> Counts:
        disagreed = self.items.c.disagreement.is_not(None)
        # Bound, it would be another parameter in GROUP BY, which Postgres refuses.
        word = literal("disagreed", literal_execute=True)
        reason = case((disagreed, word), else_=self.items.c.reason)
        waiting = await self._groups(tx, self._in(tenant, "open"), reason)
        today = (*self._in(tenant, "done"), self.items.c.done_at >= midnight())
        done = await self._groups(tx, today, self.items.c.reviewer)
        return Counts(
            open_by_route=by_route(waiting),
            open_by_reason=by_kind(waiting),
            done_today_by_reviewer=by_kind(done),
            done_today_by_route=by_route(done),
            p50_seconds=await self._median(tx, tenant),
            put_off=await self.put_off_count(tx, tenant, None),
            skipped=await self._count(tx, (*self._in(tenant, "open"), self._is_skipped())),
            second_looks=await self._count(
                tx, (*self._in(tenant, "open"), self.items.c.second_of.is_not(None))
            ),
        )

    async def undecided_audits(self, tx: AsyncConnection, tenant: str) -> dict[str, Undecided]:
        """Count by route; verdicts that were taken back are to be given again, second looks are
        not.
        """
        audited = (
            *self._in(tenant, "open"),
            self.items.c.audit,
            self.items.c.second_of.is_(None),
        )
        skipped = func.count(case((self._is_skipped(), 1)))
        counts = select(self.items.c.route, func.count(), skipped).where(*audited)
        rows = await tx.execute(counts.group_by(self.items.c.route).order_by(self.items.c.route))
        return {route: Undecided(in_all, some) for route, in_all, some in rows}

    def _is_skipped(self) -> ColumnElement[bool]:
        return exists().where(self.skips.c.item_id == self.items.c.item_id)

    def _for(self, who: Principal) -> ColumnElement[bool]:
        return or_(self.items.c.not_for.is_(None), self.items.c.not_for != who.name)

    async def _count(self, tx: AsyncConnection, where: Conditions) -> int:
        return (await tx.execute(select(func.count()).where(*where))).scalar_one()

    async def _groups(
        self, tx: AsyncConnection, where: Conditions, kind: ColumnElement[str]
    ) -> list[Group]:
        by = (self.items.c.route, kind)
        rows = await tx.execute(select(*by, func.count()).where(*where).group_by(*by).order_by(*by))
        return [Group(*row) for row in rows]

    async def _median(self, tx: AsyncConnection, tenant: str) -> float | None:
        timed = (*self._in(tenant, "done"), self.items.c.seconds.is_not(None))
        newest = (
            select(self.items.c.seconds)
            .where(*timed)
            .order_by(self.items.c.done_at.desc())
            .limit(MEDIAN_OF)
        )
        seconds = sorted((await tx.execute(newest)).scalars())
        return round(seconds[len(seconds) // 2], 3) if seconds else None

    def _in(self, tenant: str, state: str) -> Conditions:
        return self.items.c.tenant == tenant, self.items.c.state == state

    def _on(self, route: str | None) -> Conditions:
        return (self.items.c.route == route,) if route else ()


def by_route(groups: Iterable[Group]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for group in groups:
        totals[group.route] += group.items
    return dict(totals)


def by_kind(groups: Iterable[Group]) -> dict[str, int]:
    """Add up by kind. Audited items count as sampled: reviewers must not tell them apart."""
    totals: Counter[str] = Counter()
    for group in groups:
        totals["sampled" if group.kind == "audit" else group.kind] += group.items
    return dict(totals)


def midnight() -> float:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()

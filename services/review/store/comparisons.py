"""The queue of answers to compare. A claim is a lease by the database's clock, as in queue.py."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.comparisons import ComparisonRequested, Judgement
from services.review.store.tables import Tables
from shared.errors import NotFound
from shared.http import Principal
from shared.storage import Database, insert_once, upsert


class ComparisonNotFound(NotFound):
    def __init__(self, comparison_id: str) -> None:
        super().__init__(
            f"no comparison '{comparison_id}' here, or enough was said of its evaluation meanwhile;"
            " GET /v1/comparisons/next gives the next one"
        )


@dataclass(frozen=True)
class Comparison:
    """Two answers to compare, or compared. Times are seconds since the epoch."""

    request: ComparisonRequested
    claimed_by: str | None
    claimed_at: float
    claimed_until: float
    judgement: Judgement | None
    reviewer: str | None
    # By the database's clock.
    read_at: float

    @property
    def claimed(self) -> bool:
        return self.claimed_by is not None and self.claimed_until >= self.read_at


class Comparisons:
    """The pairs of a tenant; another tenant's ids are not found."""

    def __init__(
        self, db: Database, tables: Tables, claim_seconds: float, skip_seconds: float
    ) -> None:
        self.table = tables.comparisons
        self.skips = tables.skips
        self.concluded = tables.concluded
        self.claim_seconds = claim_seconds
        self.skip_seconds = skip_seconds
        table, clock = self.table, db.clock()
        rows = select(table, clock.label("now"))
        # An evaluation may end while its pairs come in.
        over = exists().where(self.concluded.c.evaluation_id == table.c.evaluation_id)
        self._open = (table.c.tenant == bindparam("within"), table.c.judgement.is_(None), ~over)
        mine = self._open
        skipped = and_(
            self.skips.c.item_id == table.c.comparison_id,
            self.skips.c.reviewer == bindparam("holder"),
        )
        away = skipped, self.skips.c.back_at > clock
        free = table.c.claimed_until < clock
        own = table.c.claimed_by == bindparam("key")
        oldest = (table.c.queued_at, table.c.comparison_id)
        self._held = rows.where(*mine, own, ~free).order_by(*oldest).limit(1)
        self._next = (
            rows.where(*mine, free, ~exists().where(*away))
            .order_by(*oldest)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        this = (table.c.tenant == bindparam("within"), table.c.comparison_id == bindparam("this"))
        self._lock = rows.where(*this).with_for_update()

    async def add(self, tx: AsyncConnection, event: ComparisonRequested) -> None:
        row = {
            "comparison_id": event.comparison_id,
            "tenant": event.tenant,
            "route": event.route,
            "evaluation_id": event.evaluation_id,
            "asked": zlib.compress(event.model_dump_json().encode()),
            "queued_at": event.occurred_at.timestamp(),
        }
        over = select(self.concluded).where(self.concluded.c.evaluation_id == event.evaluation_id)
        if (await tx.execute(over)).first() is None:
            await insert_once(tx, self.table, row)

    async def conclude(self, tx: AsyncConnection, evaluation_id: str, at: float) -> None:
        """Ask nobody about an evaluation any more; what is judged of it stays."""
        await insert_once(tx, self.concluded, {"evaluation_id": evaluation_id, "at": at})
        table = self.table
        unjudged = (table.c.evaluation_id == evaluation_id) & table.c.judgement.is_(None)
        await tx.execute(delete(table).where(unjudged))

    async def take(
        self, tx: AsyncConnection, who: Principal, route: str | None
    ) -> Comparison | None:
        """Return what this reviewer holds, or claim the oldest pair that is free."""
        values = {"within": who.tenant, "key": who.id, "holder": who.name}
        for wanted in (self._held, self._next):
            of_route = wanted.where(self.table.c.route == route) if route else wanted
            if row := (await tx.execute(of_route, values)).first():
                held = comparison_of(row)
                since = held.claimed_at if held.claimed else held.read_at
                claim = {"claimed_by": who.id, "claimed_at": since}
                until = held.read_at + self.claim_seconds
                await self._set(tx, held, claimed_until=until, **claim)
                return held
        return None

    async def lock(self, tx: AsyncConnection, who: Principal, comparison_id: str) -> Comparison:
        values = {"within": who.tenant, "this": comparison_id}
        row = (await tx.execute(self._lock, values)).first()
        if row is None:
            raise ComparisonNotFound(comparison_id)
        return comparison_of(row)

    async def finish(
        self, tx: AsyncConnection, judged: Comparison, judgement: Judgement, who: Principal
    ) -> None:
        """Keep a judgement, and of the answers nothing."""
        kept = judged.request.model_copy(update={"messages": (), "left": "", "right": ""})
        await self._set(
            tx,
            judged,
            judgement=judgement,
            reviewer=who.name,
            done_at=judged.read_at,
            asked=zlib.compress(kept.model_dump_json().encode()),
        )

    async def skip(self, tx: AsyncConnection, skipped: Comparison, who: Principal) -> None:
        """End a claim: others get the pair next, and this reviewer after some time."""
        await self._set(tx, skipped, claimed_by=None, claimed_until=0.0)
        row = {
            "item_id": skipped.request.comparison_id,
            "reviewer": who.name,
            "back_at": skipped.read_at + self.skip_seconds,
        }
        await upsert(tx, self.skips, row)

    async def open_count(self, tx: AsyncConnection, tenant: str) -> int:
        waiting = select(func.count()).select_from(self.table).where(*self._open)
        return (await tx.execute(waiting, {"within": tenant})).scalar_one()

    async def forget(self, tx: AsyncConnection, before: float) -> None:
        """Drop pairs that were queued before a time in seconds since the epoch, and what ended
        before it.
        """
        await tx.execute(delete(self.table).where(self.table.c.queued_at < before))
        await tx.execute(delete(self.concluded).where(self.concluded.c.at < before))

    async def _set(self, tx: AsyncConnection, one: Comparison, **values: object) -> None:
        this = self.table.c.comparison_id == one.request.comparison_id
        await tx.execute(update(self.table).where(this).values(values))


def comparison_of(row: Row[Any]) -> Comparison:
    return Comparison(
        request=ComparisonRequested.model_validate_json(zlib.decompress(row.asked)),
        claimed_by=row.claimed_by,
        claimed_at=float(row.claimed_at),
        claimed_until=float(row.claimed_until),
        judgement=row.judgement,
        reviewer=row.reviewer,
        read_at=float(row.now),
    )

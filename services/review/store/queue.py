"""The queue in SQL. A claim is a lease by the database's clock: two reviewers never hold the same
item at once.

An item is read with its route and the clock in one statement: on SQLite every statement costs about
0.5 ms of CPU.
"""

from __future__ import annotations

import time
from dataclasses import replace

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.review.items import Card, Item, ItemNotFound
from services.review.sampling import SKIPPED_RANK
from services.review.store.tables import Tables, card, item
from shared.http.auth import Principal
from shared.rules.routes import RouteBook
from shared.storage.db import Database


class SqlQueue:
    """Statements of the fast path are built once: building one costs more CPU (about 0.6 ms) than
    executing it.
    """

    def __init__(
        self, db: Database, tables: Tables, routes: RouteBook, claim_seconds: float
    ) -> None:
        self.items = tables.items
        self.clock = db.clock()
        self.claim_seconds = claim_seconds
        columns = (self.items, routes.table.c.state.label("route_state"), self.clock.label("now"))
        cards = select(*columns).join(routes.table, routes.table.c.route == self.items.c.route)
        in_reach = (
            self.items.c.item_id == bindparam("this"),
            self.items.c.tenant == bindparam("within"),
            self.items.c.state.in_(("open", "done")),
        )
        self._find = cards.where(*in_reach)
        self._lock = self._find.with_for_update(of=self.items)
        self._update = update(self.items).where(self.items.c.item_id == bindparam("this"))
        # SKIP LOCKED: reviewers that ask at the same moment get different items instead of waiting
        # for each other.
        free = (
            cards.where(self.items.c.claimed_until < self.clock)
            .limit(1)
            .with_for_update(of=self.items, skip_locked=True)
        )
        own = (
            self.items.c.claimed_by == bindparam("holder"),
            self.items.c.claimed_until >= self.clock,
        )
        held = cards.where(*own).limit(1).with_for_update(of=self.items)
        self._free = {routed: self._open(free, routed) for routed in (False, True)}
        self._held = {routed: self._open(held, routed) for routed in (False, True)}

    async def claim(self, tx: AsyncConnection, who: Principal, route: str | None) -> Card | None:
        row = (
            await tx.execute(
                self._free[route is not None], {"within": who.tenant, "on_route": route}
            )
        ).first()
        return await self._hold(tx, card(row), who, since=float(row.now)) if row else None

    async def held(self, tx: AsyncConnection, who: Principal, route: str | None) -> Card | None:
        """What this reviewer still holds; its claim starts again, its time goes on."""
        row = (
            await tx.execute(
                self._held[route is not None],
                {"within": who.tenant, "on_route": route, "holder": who.id},
            )
        ).first()
        return await self._hold(tx, card(row), who, since=row.claimed_at) if row else None

    async def find(self, tx: AsyncConnection, tenant: str, item_id: str) -> Card:
        return await self._one(tx, self._find, tenant, item_id)

    async def lock(self, tx: AsyncConnection, tenant: str, item_id: str) -> Card:
        return await self._one(tx, self._lock, tenant, item_id)

    async def finish(self, tx: AsyncConnection, done: Item) -> None:
        await tx.execute(
            self._update,
            {
                "this": done.item_id,
                "state": done.state,
                "verdict": done.verdict,
                "answer": done.answer,
                "reviewer": done.reviewer,
                "done_at": done.done_at,
                "seconds": done.seconds,
            },
        )

    async def release(self, tx: AsyncConnection, item_id: str) -> None:
        await tx.execute(
            self._update,
            {
                "this": item_id,
                "claimed_by": None,
                "claimed_until": 0.0,
                "rank": SKIPPED_RANK,
                "queued_at": time.time(),
            },
        )

    async def waiting(
        self, tx: AsyncConnection, tenant: str, route: str | None, limit: int, offset: int
    ) -> list[Item]:
        items = (
            self._open(select(self.items, self.clock.label("now")), route is not None)
            .limit(limit)
            .offset(offset)
        )
        return [
            item(row, row.now)
            for row in await tx.execute(items, {"within": tenant, "on_route": route})
        ]

    async def finished(
        self, tx: AsyncConnection, tenant: str, reviewer: str, limit: int, offset: int
    ) -> list[Item]:
        own = select(self.items).where(
            self.items.c.tenant == tenant,
            self.items.c.state == "done",
            self.items.c.reviewer == reviewer,
        )
        newest = (
            own.order_by(self.items.c.done_at.desc(), self.items.c.item_id)
            .limit(limit)
            .offset(offset)
        )
        return [item(row, row.done_at) for row in await tx.execute(newest)]

    async def _hold(self, tx: AsyncConnection, free: Card, who: Principal, since: float) -> Card:
        claim = {
            "claimed_by": who.id,
            "claimed_at": since,
            "claimed_until": free.item.read_at + self.claim_seconds,
        }
        await tx.execute(self._update, {"this": free.item.item_id} | claim)
        return replace(free, item=replace(free.item, **claim))

    async def _one(self, tx: AsyncConnection, cards: Select, tenant: str, item_id: str) -> Card:
        row = (await tx.execute(cards, {"this": item_id, "within": tenant})).first()
        if row is None:
            raise ItemNotFound(item_id)
        return card(row)

    def _open(self, items: Select, routed: bool) -> Select:
        items = items.where(
            self.items.c.tenant == bindparam("within"), self.items.c.state == "open"
        )
        ordered = items.order_by(self.items.c.rank, self.items.c.queued_at, self.items.c.item_id)
        return ordered.where(self.items.c.route == bindparam("on_route")) if routed else ordered

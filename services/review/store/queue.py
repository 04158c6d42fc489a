"""The queue. A claim is a lease by the database's clock: two reviewers never hold one item at once.

An item is read with its route and the clock in one statement: on SQLite every statement costs about
0.5 ms of CPU.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, case, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import uuid7
from services.review.items import Card, ItemNotFound, ReviewItem
from services.review.sampling import UNDONE_RANK, USUAL_RANK
from services.review.store.tables import UNDECIDED, Tables, card_of, item_of
from services.review.turns import Turn, skipped_comes_first
from shared.http import Principal
from shared.rules import RouteBook
from shared.storage import Database, insert_once, upsert

Items = Select[Any]


class Queue:
    """The open and the decided items of a tenant; another tenant's ids are not found.

    Statements of the fast path are built once: building one costs more CPU (about 0.6 ms) than
    executing it.
    """

    def __init__(
        self,
        db: Database,
        tables: Tables,
        routes: RouteBook,
        claim_seconds: float,
        skip_seconds: float,
    ) -> None:
        self.items = tables.items
        self.skips = tables.skips
        self.clock = db.clock()
        self.claim_seconds = claim_seconds
        self.skip_seconds = skip_seconds
        columns = (self.items, routes.table.c.state.label("route_state"), self.clock.label("now"))
        # An item whose route is gone is handed out too: it can be skipped.
        known = routes.table.c.route == self.items.c.route
        cards = select(*columns).outerjoin(routes.table, known)
        in_reach = (
            self.items.c.item_id == bindparam("this"),
            self.items.c.tenant == bindparam("within"),
            self.items.c.state.in_(("open", "done")),
        )
        self._find = cards.where(*in_reach)
        self._lock = self._find.with_for_update(of=self.items)
        self._update = update(self.items).where(self.items.c.item_id == bindparam("this"))
        # SKIP LOCKED: reviewers who ask at the same moment get different items and never wait for
        # each other.
        not_for = self.items.c.not_for
        free = (
            cards.where(
                self.items.c.claimed_until < self.clock,
                or_(not_for.is_(None), not_for != bindparam("holder")),
            )
            .limit(1)
            .with_for_update(of=self.items, skip_locked=True)
        )
        skip = and_(
            self.skips.c.item_id == self.items.c.item_id,
            self.skips.c.reviewer == bindparam("holder"),
        )
        fresh = free.where(~exists().where(skip))
        skipped = free.add_columns(self.skips.c.back_at).join(self.skips, skip)
        own = (
            self.items.c.claimed_by == bindparam("holder"),
            self.items.c.claimed_until >= self.clock,
        )
        held = cards.where(*own).limit(1).with_for_update(of=self.items)
        soonest = (self.skips.c.back_at, self.items.c.item_id)
        self._fresh = {routed: self._open(fresh, routed) for routed in (False, True)}
        self._skipped = {
            routed: self._open(skipped, routed).order_by(None).order_by(*soonest)
            for routed in (False, True)
        }
        self._held = {routed: self._open(held, routed) for routed in (False, True)}

    async def claim(self, tx: AsyncConnection, who: Principal, route: str | None) -> Card | None:
        """Claim the next free item, of `route` or of any; return nothing when there is none.

        What this reviewer skipped, or was contradicted in, comes back when its time is over.
        """
        values = {"within": who.tenant, "on_route": route, "holder": who.name}
        fresh = (await tx.execute(self._fresh[route is not None], values)).first()
        skipped = (await tx.execute(self._skipped[route is not None], values)).first()
        row = next_of(fresh, skipped)
        return await self._hold(tx, card_of(row), who, since=float(row.now)) if row else None

    async def held(self, tx: AsyncConnection, who: Principal, route: str | None) -> Card | None:
        """Return what this reviewer still holds; its claim starts again, its time goes on."""
        values = {"within": who.tenant, "on_route": route, "holder": who.id}
        row = (await tx.execute(self._held[route is not None], values)).first()
        return await self._hold(tx, card_of(row), who, since=row.claimed_at) if row else None

    async def find(self, tx: AsyncConnection, tenant: str, item_id: str) -> Card:
        return await self._one(tx, self._find, tenant, item_id)

    async def lock(self, tx: AsyncConnection, tenant: str, item_id: str) -> Card:
        return await self._one(tx, self._lock, tenant, item_id)

    async def finish(self, tx: AsyncConnection, done: ReviewItem) -> None:
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
                "guideline": done.guideline,
                "slices": json.dumps(dict(done.slices)) if done.slices else None,
            },
        )

    async def reopen(self, tx: AsyncConnection, item: ReviewItem, who: Principal) -> None:
        """Put a decided item back into the hands of who takes its verdict back."""
        await tx.execute(
            self._update,
            {
                "this": item.item_id,
                "state": "open",
                "rank": UNDONE_RANK,
                "claimed_by": who.id,
                "claimed_at": item.read_at,
                "claimed_until": item.read_at + self.claim_seconds,
                "withdrawn": item.withdrawn + 1,
                **UNDECIDED,
            },
        )

    async def skip(self, tx: AsyncConnection, item: ReviewItem, who: Principal) -> None:
        """End a claim: the item keeps its place for others, and comes back to this reviewer."""
        ended = self._update.values(
            # Before its time only to who had just decided it.
            rank=case((self.items.c.rank < 0, USUAL_RANK), else_=self.items.c.rank),
            claimed_by=None,
            claimed_until=0.0,
        )
        await tx.execute(ended, {"this": item.item_id})
        back_at = item.read_at + self.skip_seconds
        row = {"item_id": item.item_id, "reviewer": who.name, "back_at": back_at}
        await upsert(tx, self.skips, row)

    async def put_off(self, tx: AsyncConnection, item: ReviewItem, until: float) -> None:
        """End a claim: nobody gets the item before `until`, and then it stands at the end."""
        ended = {"claimed_by": None, "claimed_until": until, "queued_at": until}
        await tx.execute(self._update, {"this": item.item_id, "rank": USUAL_RANK, **ended})

    async def ask_second(self, tx: AsyncConnection, done: ReviewItem) -> None:
        """Queue a decided item for another person, once; a verdict that was given anew meanwhile is
        the one that is checked.
        """
        name = f"second:{done.item_id}"
        checked = {"second_of": done.review_id, "not_for": done.reviewer}
        row = {
            "item_id": uuid7(),
            "tenant": done.tenant,
            "route": done.route,
            "inference_id": name,
            "about": done.inference_id,
            "state": "open",
            "rank": USUAL_RANK,
            "recorded_at": time.time(),
            "queued_at": time.time(),
            "coin": done.coin,
            "audit": done.audit,
            "probability": done.probability,
            "reason": done.reason,
            "suggestion": done.suggestion,
            "asked": done.exchange.pack() if done.exchange else None,
            **checked,
        }
        if not await insert_once(tx, self.items, row):
            waiting = (
                self.items.c.tenant == done.tenant,
                self.items.c.inference_id == name,
                self.items.c.state == "open",
            )
            await tx.execute(update(self.items).where(*waiting).values(checked))

    async def waiting(
        self, tx: AsyncConnection, tenant: str, route: str | None, limit: int, offset: int
    ) -> list[ReviewItem]:
        """Return open items in the order in which they are handed out."""
        items = self._open(select(self.items, self.clock.label("now")), route is not None)
        values = {"within": tenant, "on_route": route}
        rows = await tx.execute(items.limit(limit).offset(offset), values)
        return [item_of(row, row.now) for row in rows]

    async def finished(
        self, tx: AsyncConnection, tenant: str, reviewer: str, limit: int, offset: int
    ) -> list[ReviewItem]:
        """Return what a reviewer decided, the newest first."""
        own = (
            self.items.c.tenant == tenant,
            self.items.c.state == "done",
            self.items.c.reviewer == reviewer,
        )
        newest = (
            select(self.items)
            .where(*own)
            .order_by(self.items.c.done_at.desc(), self.items.c.item_id)
            .limit(limit)
            .offset(offset)
        )
        return [item_of(row, row.done_at) for row in await tx.execute(newest)]

    async def _hold(self, tx: AsyncConnection, card: Card, who: Principal, since: float) -> Card:
        until = card.item.read_at + self.claim_seconds
        await tx.execute(
            self._update,
            {
                "this": card.item.item_id,
                "claimed_by": who.id,
                "claimed_at": since,
                "claimed_until": until,
            },
        )
        item = replace(card.item, claimed_by=who.id, claimed_at=since, claimed_until=until)
        return replace(card, item=item)

    async def _one(self, tx: AsyncConnection, cards: Items, tenant: str, item_id: str) -> Card:
        row = (await tx.execute(cards, {"this": item_id, "within": tenant})).first()
        if row is None:
            raise ItemNotFound(item_id)
        return card_of(row)

    def _open(self, items: Items, routed: bool) -> Items:
        """Narrow to the open items of a tenant, `routed` to those of one route, in their order."""
        opened = items.where(
            self.items.c.tenant == bindparam("within"), self.items.c.state == "open"
        ).order_by(self.items.c.rank, self.items.c.queued_at, self.items.c.item_id)
        return opened.where(self.items.c.route == bindparam("on_route")) if routed else opened


def next_of(fresh: Row[Any] | None, skipped: Row[Any] | None) -> Row[Any] | None:
    """Return the row whose turn it is: of one that a reviewer skipped, and of one they did not."""
    if skipped is None:
        return fresh
    back = Turn(skipped.rank, skipped.back_at)
    other = Turn(fresh.rank, fresh.queued_at) if fresh else None
    return skipped if skipped_comes_first(back, other, float(skipped.now)) else fresh

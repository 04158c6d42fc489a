"""Where the events about one inference meet: one row, inserted by whichever comes first and locked
by the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import uuid7
from services.review.items import Arrival, Exchange, ReviewItem
from services.review.sampling import USUAL_RANK, Sampling, rank
from services.review.store.tables import UNDECIDED, Tables, arrival_of, item_of
from shared.storage import Database, delete_in_chunks, insert_once, upsert


class Arrivals:
    def __init__(self, tables: Tables, skip_seconds: float) -> None:
        self.items = tables.items
        self.batches = tables.batches
        self.skips = tables.skips
        self.pairs = tables.comparisons
        self.skip_seconds = skip_seconds
        self._update = update(self.items).where(self.items.c.item_id == bindparam("this"))
        left = (self.batches.c.route == bindparam("on_route"), self.batches.c.remaining > 0)
        self._take = (
            update(self.batches).where(*left).values(remaining=self.batches.c.remaining - 1)
        )

    async def meet(
        self, tx: AsyncConnection, tenant: str, route: str, inference_id: str, coin: float
    ) -> Arrival:
        """Return the row of an inference, new or locked, so that no two events miss each other."""
        new = Arrival(
            uuid7(),
            "awaited",
            coin,
            unsure=False,
            complaint=False,
            rank=USUAL_RANK,
            audit=False,
            recorded_at=time.time(),
        )
        row = {
            "item_id": new.item_id,
            "tenant": tenant,
            "route": route,
            "inference_id": inference_id,
            "state": new.state,
            "rank": new.rank,
            "coin": coin,
            "recorded_at": new.recorded_at,
        }
        if await insert_once(tx, self.items, row):
            return new
        same = (self.items.c.tenant == tenant, self.items.c.inference_id == inference_id)
        known = select(self.items).where(*same).with_for_update()
        return arrival_of((await tx.execute(known)).one())

    async def record(
        self,
        tx: AsyncConnection,
        item_id: str,
        route: str,
        exchange: Exchange,
        metadata: Mapping[str, str],
        unsure: bool,
        provisional_on: str | None,
    ) -> None:
        """Keep what was asked and answered, which now waits for its route."""
        await self._set(
            tx,
            item_id,
            route=route,
            asked=exchange.pack(),
            metadata=json.dumps(metadata) if metadata else None,
            unsure=unsure,
            provisional_on=provisional_on,
            state="unrouted",
        )

    async def mark_unsure(self, tx: AsyncConnection, item_id: str) -> None:
        await self._set(tx, item_id, unsure=True)

    async def mark_complaint(
        self, tx: AsyncConnection, item_id: str, suggestion: str | None
    ) -> None:
        """Note that a user called the answer wrong; without a suggestion an earlier one stays."""
        if suggestion is None:
            await self._set(tx, item_id, complaint=True)
        else:
            await self._set(tx, item_id, complaint=True, suggestion=suggestion)

    async def place(self, tx: AsyncConnection, arrival: Arrival, sampling: Sampling) -> None:
        """Put it into the queue or aside. What is in the queue keeps its turn, or moves ahead."""
        turn: dict[str, object]
        if arrival.state == "open":
            turn = {"rank": min(arrival.rank, rank(sampling))}
        elif sampling.sampled:
            turn = {"state": "open", "rank": rank(sampling), "queued_at": time.time()}
        else:
            turn = {"state": "set_aside"}
        await self._set(
            tx,
            arrival.item_id,
            audit=sampling.audit,
            probability=sampling.probability,
            reason=sampling.reason,
            **turn,
        )

    async def decided(self, tx: AsyncConnection, item_id: str) -> ReviewItem:
        """Return a decided item, which `meet` has locked."""
        row = (await tx.execute(select(self.items).where(self.items.c.item_id == item_id))).one()
        return item_of(row, row.done_at)

    async def include(self, tx: AsyncConnection, item_id: str) -> None:
        """Note that an item would have been reviewed whatever its coin says."""
        await self._set(tx, item_id, probability=1.0)

    async def said_as(
        self, tx: AsyncConnection, tenant: str, inference_id: str, review_id: str
    ) -> ReviewItem | None:
        """Lock and return a decided item, if its present verdict is the one called `review_id`."""
        mine = (
            self.items.c.tenant == tenant,
            self.items.c.inference_id == inference_id,
            self.items.c.state == "done",
        )
        row = (await tx.execute(select(self.items).where(*mine).with_for_update())).first()
        item = item_of(row, row.done_at) if row else None
        return item if item and item.review_id == review_id else None

    async def ask_again(
        self, tx: AsyncConnection, item: ReviewItem, disagreement: Mapping[str, int]
    ) -> None:
        """Put a decided item at the end of the queue; who decided it gets it as if they had skipped
        it.
        """
        back_at = time.time() + self.skip_seconds
        skip = {"item_id": item.item_id, "reviewer": item.reviewer, "back_at": back_at}
        await upsert(tx, self.skips, skip)
        await self._set(
            tx,
            item.item_id,
            state="open",
            rank=USUAL_RANK,
            queued_at=time.time(),
            claimed_by=None,
            claimed_until=0.0,
            withdrawn=item.withdrawn + 1,
            disagreement=json.dumps(disagreement, ensure_ascii=False),
            **UNDECIDED,
        )

    async def unrouted(self, tx: AsyncConnection, route: str) -> Sequence[Arrival]:
        """Lock and return what came before its route did."""
        waiting = select(self.items).where(
            self.items.c.state == "unrouted", self.items.c.route == route
        )
        return [arrival_of(row) for row in await tx.execute(waiting.with_for_update())]

    async def open_batch(self, tx: AsyncConnection, route: str, drift_id: str, size: int) -> None:
        """Have the next `size` answers of a route reviewed.

        A second alarm while a batch is open starts it over; it does not add up.
        """
        await upsert(tx, self.batches, {"route": route, "drift_id": drift_id, "remaining": size})

    async def take_from_batch(self, tx: AsyncConnection, route: str) -> bool:
        """Take one answer from the route's batch; say whether one was left."""
        return (await tx.execute(self._take, {"on_route": route})).rowcount == 1

    async def forget(self, db: Database, before: float) -> int:
        """Drop what nobody was asked to review and what never met its inference.

        `before` is in seconds since the epoch. Returns how many rows that were.
        """
        return sum(
            [
                await delete_in_chunks(db, self.items, old, self.items.c.recorded_at)
                for old in self.old(before)
            ]
        )

    async def forget_skips(self, tx: AsyncConnection) -> None:
        """Drop the skips of what is decided."""
        waiting = (self.items.c.item_id == self.skips.c.item_id, self.items.c.state == "open")
        pair = self.pairs.c.comparison_id == self.skips.c.item_id
        over = (~exists().where(*waiting), ~exists().where(pair, self.pairs.c.judgement.is_(None)))
        await tx.execute(delete(self.skips).where(*over))

    def old(self, before: float) -> list[ColumnElement[bool]]:
        """Return a condition for each state, as the index by age wants it."""
        return [
            and_(self.items.c.state == state, self.items.c.recorded_at < before)
            for state in ("set_aside", "awaited", "unrouted")
        ]

    async def _set(self, tx: AsyncConnection, item_id: str, **values: object) -> None:
        await tx.execute(self._update, {"this": item_id} | values)

"""Where the events about one inference meet: one row, inserted by whichever comes first and locked
by the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import uuid7
from services.review.items import Arrival, Asked
from services.review.sampling import Decision, rank
from services.review.store.tables import Tables, arrival
from shared.storage.db import insert_once, upsert

NEW_RANK = 2


class SqlArrivals:
    def __init__(self, tables: Tables) -> None:
        self.items = tables.items
        self.batches = tables.batches
        self._update = update(self.items).where(self.items.c.item_id == bindparam("this"))
        left = (self.batches.c.route == bindparam("on_route"), self.batches.c.remaining > 0)
        self._take = (
            update(self.batches).where(*left).values(remaining=self.batches.c.remaining - 1)
        )

    async def meet(
        self, tx: AsyncConnection, tenant: str, route: str, inference_id: str, coin: float
    ) -> Arrival:
        new = Arrival(uuid7(), "awaited", coin, unsure=False, complaint=False, rank=NEW_RANK)
        if await insert_once(
            tx,
            self.items,
            {
                "item_id": new.item_id,
                "tenant": tenant,
                "route": route,
                "inference_id": inference_id,
                "state": new.state,
                "rank": new.rank,
                "coin": coin,
                "recorded_at": time.time(),
            },
        ):
            return new
        same = (self.items.c.tenant == tenant, self.items.c.inference_id == inference_id)
        return arrival((await tx.execute(select(self.items).where(*same).with_for_update())).one())

    async def record(
        self, tx: AsyncConnection, item_id: str, route: str, asked: Asked, unsure: bool
    ) -> None:
        await self.mark(
            tx, item_id, route=route, asked=asked.pack(), unsure=unsure, state="unrouted"
        )

    async def mark(self, tx: AsyncConnection, item_id: str, **facts: Any) -> None:
        await tx.execute(self._update, {"this": item_id} | facts)

    async def place(self, tx: AsyncConnection, arrival: Arrival, decision: Decision) -> None:
        """Into the queue or aside. What is in the queue already keeps its turn, or moves ahead."""
        if arrival.state == "open":
            turn: dict[str, Any] = {"rank": min(arrival.rank, rank(decision))}
        elif decision.sampled:
            turn = {"state": "open", "rank": rank(decision), "queued_at": time.time()}
        else:
            turn = {"state": "set_aside"}
        await self.mark(
            tx,
            arrival.item_id,
            audit=decision.audit,
            probability=decision.probability,
            reason=decision.reason,
            **turn,
        )

    async def unrouted(self, tx: AsyncConnection, route: str) -> Sequence[Arrival]:
        waiting = select(self.items).where(
            self.items.c.state == "unrouted", self.items.c.route == route
        )
        return [arrival(row) for row in await tx.execute(waiting.with_for_update())]

    async def open_batch(self, tx: AsyncConnection, route: str, drift_id: str, size: int) -> None:
        """A second alarm while a batch is open starts it over; it does not add up."""
        await upsert(tx, self.batches, {"route": route, "drift_id": drift_id, "remaining": size})

    async def take_from_batch(self, tx: AsyncConnection, route: str) -> bool:
        return (await tx.execute(self._take, {"on_route": route})).rowcount == 1

    async def forget(self, tx: AsyncConnection, before: float) -> int:
        """Drop what nobody was asked to review and what never met its inference."""
        old = (
            self.items.c.state.in_(("set_aside", "awaited", "unrouted")),
            self.items.c.recorded_at < before,
        )
        return (await tx.execute(delete(self.items).where(*old))).rowcount

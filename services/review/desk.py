"""What a reviewer does: take an item, settle it, put it back. The API and the pages both work at
this desk.
"""

from __future__ import annotations

import time
from dataclasses import replace

from schemas.events import ReviewCompleted, Verdict
from services.review.items import AlreadyDecided, Card, ClaimedByOther, Item
from services.review.ports import Contents, Queue
from services.review.verdicts import Settled, settle
from shared.events.outbox import Outbox
from shared.http.auth import Principal
from shared.storage.db import Database


class Desk:
    def __init__(self, db: Database, queue: Queue, outbox: Outbox, contents: Contents) -> None:
        self.db = db
        self.queue = queue
        self.outbox = outbox
        self.contents = contents

    async def take(self, who: Principal, route: str | None, resume: bool = False) -> Card | None:
        """Claim the next item; with `resume`, rather the one this reviewer still holds (a page that
        is loaded again).
        """
        async with self.db.transaction() as tx:
            card = await self.queue.held(tx, who, route) if resume else None
            card = card or await self.queue.claim(tx, who, route)
        return await self._complete(card) if card else None

    async def show(self, who: Principal, item_id: str) -> Card:
        async with self.db.read() as connection:
            card = await self.queue.find(connection, who.tenant, item_id)
        return await self._complete(card)

    async def settle(
        self, who: Principal, item_id: str, verdict: Verdict, answer: str | None
    ) -> Item:
        """One transaction: the item is done and its `review-completed` will be published, or
        neither.
        """
        async with self.db.transaction() as tx:
            card = await self.queue.lock(tx, who.tenant, item_id)
            model_answer = (await self.contents.complete(card.item.asked)).answer
            settled = settle(verdict, answer, model_answer, card.spec)
            if card.item.state == "done":
                return unchanged(card.item, settled)
            done = finished(mine(card.item, who), settled, who)
            await self.queue.finish(tx, done)
            await self.outbox.add(tx, completed(done))
            return done

    async def put_back(self, who: Principal, item_id: str) -> None:
        """Skip: the claim ends and the item comes back after all others. An item that is done stays
        done.
        """
        async with self.db.transaction() as tx:
            item = mine((await self.queue.lock(tx, who.tenant, item_id)).item, who)
            if item.state == "open":
                await self.queue.release(tx, item_id)

    async def _complete(self, card: Card) -> Card:
        return replace(
            card, item=replace(card.item, asked=await self.contents.complete(card.item.asked))
        )


def mine(item: Item, who: Principal) -> Item:
    """Nobody else has it open: it is claimed by this reviewer, or by no one any more."""
    if item.claimed and item.claimed_by != who.id:
        raise ClaimedByOther
    return item


def finished(item: Item, settled: Settled, who: Principal) -> Item:
    seconds = max(0.0, item.read_at - item.claimed_at) if item.claimed_by == who.id else None
    return replace(
        item,
        state="done",
        verdict=settled.verdict,
        answer=settled.answer,
        reviewer=who.name,
        done_at=time.time(),
        seconds=seconds,
    )


def unchanged(item: Item, settled: Settled) -> Item:
    if (item.verdict, item.answer) != (settled.verdict, settled.answer):
        raise AlreadyDecided(item)
    return item


def completed(item: Item) -> ReviewCompleted:
    """Content that was too large for an event is referred to again, never copied into this one."""
    asked = item.asked
    return ReviewCompleted(
        tenant=item.tenant,
        route=item.route,
        review_id=item.item_id,
        inference_id=item.inference_id,
        verdict=item.verdict,
        messages=asked.messages,
        model_answer=asked.answer,
        answer=item.answer,
        content=asked.content,
        reviewer=item.reviewer,
        reason=item.reason,
        audit=item.audit,
        probability=item.probability,
        coin=item.coin,
        arm=asked.arm,
        adapter_id=asked.adapter_id,
        confidence=asked.confidence,
        asked_at=asked.occurred_at,
        seconds=item.seconds,
    )

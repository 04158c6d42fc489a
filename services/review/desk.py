"""What a reviewer does: take an item, give a verdict, put it back. The API and the pages both work
at this desk.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from schemas.events import ReviewCompleted, Verdict
from services.review.items import AlreadyDecided, Card, ClaimedByOther, Exchange, ReviewItem
from services.review.store.queue import Queue
from services.review.verdicts import CheckedVerdict, check_verdict
from shared.events import Outbox
from shared.http import Principal
from shared.rules import read_content
from shared.storage import BlobStore, Database


@dataclass(frozen=True)
class Desk:
    """Where reviewers work; another tenant's items are not found here."""

    db: Database
    queue: Queue
    outbox: Outbox
    blobs: BlobStore

    async def take(self, who: Principal, route: str | None, resume: bool = False) -> Card | None:
        """Claim the next item, of `route` or of any; return nothing when none waits.

        `resume` prefers the item this reviewer still holds, for a page that is loaded again.
        """
        async with self.db.transaction() as tx:
            card = await self.queue.held(tx, who, route) if resume else None
            card = card or await self.queue.claim(tx, who, route)
        return await self._with_content(card) if card else None

    async def find(self, who: Principal, item_id: str) -> Card:
        """Return an item without claiming it. Raises ItemNotFound."""
        async with self.db.read() as connection:
            card = await self.queue.find(connection, who.tenant, item_id)
        return await self._with_content(card)

    async def give_verdict(
        self, who: Principal, item_id: str, verdict: Verdict, answer: str | None
    ) -> ReviewItem:
        """Decide an item and publish its `review-completed`, both or neither.

        The same verdict again changes nothing. Raises ItemNotFound, ClaimedByOther,
        AlreadyDecided, and the errors of `check_verdict`.
        """
        async with self.db.transaction() as tx:
            card = await self.queue.lock(tx, who.tenant, item_id)
            model_answer = (await self._complete(card.item.exchange)).answer
            checked = check_verdict(verdict, answer, model_answer, card.spec)
            if card.item.state == "done":
                return unchanged(card.item, checked)
            done = decided(not_of_another(card.item, who), checked, who)
            await self.queue.finish(tx, done)
            await self.outbox.add(tx, review_completed(done))
            return done

    async def put_back(self, who: Principal, item_id: str) -> None:
        """End a claim: the item comes back after all others. One that is done stays done.

        Raises ItemNotFound and ClaimedByOther.
        """
        async with self.db.transaction() as tx:
            card = await self.queue.lock(tx, who.tenant, item_id)
            item = not_of_another(card.item, who)
            if item.state == "open":
                await self.queue.release(tx, item_id)

    async def _with_content(self, card: Card) -> Card:
        exchange = await self._complete(card.item.exchange)
        return replace(card, item=replace(card.item, exchange=exchange))

    async def _complete(self, exchange: Exchange) -> Exchange:
        """Fetch messages and answer where they were too large for the event."""
        if exchange.content is None:
            return exchange
        content = await read_content(self.blobs, exchange.content)
        return exchange.model_copy(update={"messages": content.messages, "answer": content.answer})


def not_of_another(item: ReviewItem, who: Principal) -> ReviewItem:
    """Return the item when this reviewer or no one holds it. Raises ClaimedByOther."""
    if item.claimed and item.claimed_by != who.id:
        raise ClaimedByOther
    return item


def decided(item: ReviewItem, checked: CheckedVerdict, who: Principal) -> ReviewItem:
    seconds = max(0.0, item.read_at - item.claimed_at) if item.claimed_by == who.id else None
    return replace(
        item,
        state="done",
        verdict=checked.verdict,
        answer=checked.answer,
        reviewer=who.name,
        done_at=time.time(),
        seconds=seconds,
    )


def unchanged(item: ReviewItem, checked: CheckedVerdict) -> ReviewItem:
    """Return a decided item when it was decided like this. Raises AlreadyDecided."""
    if (item.verdict, item.answer) != (checked.verdict, checked.answer):
        raise AlreadyDecided(item)
    return item


def review_completed(item: ReviewItem) -> ReviewCompleted:
    """Make the event of a decided item; it refers to large content again and never copies it."""
    exchange = item.exchange
    return ReviewCompleted(
        tenant=item.tenant,
        route=item.route,
        review_id=item.item_id,
        inference_id=item.inference_id,
        verdict=item.verdict,
        messages=exchange.messages,
        model_answer=exchange.answer,
        answer=item.answer,
        content=exchange.content,
        reviewer=item.reviewer,
        reason=item.reason,
        audit=item.audit,
        probability=item.probability,
        coin=item.coin,
        arm=exchange.arm,
        adapter_id=exchange.adapter_id,
        confidence=exchange.confidence,
        asked_at=exchange.occurred_at,
        seconds=item.seconds,
    )

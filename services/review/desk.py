"""What a reviewer does: take an item, give a verdict, put it back. The API and the pages both work
at this desk.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from schemas.events import Verdict
from schemas.route import RouteSpec
from services.review.facts import review_completed, withdrawn
from services.review.items import (
    AlreadyDecided,
    Card,
    ClaimedByOther,
    NothingToUndo,
    OwnVerdict,
    ReviewItem,
    VerdictOfAnother,
)
from services.review.sampling import second_look
from services.review.store.queue import Queue
from services.review.verdicts import CheckedVerdict, check_verdict, slices_of
from shared.events import Outbox
from shared.http import Principal
from shared.privacy import Personal
from shared.rules import read_content
from shared.storage import BlobCorrupt, BlobMissing, BlobStore, Database
from shared.telemetry import log

# How long a store of artifacts may take to give the content of one item.
CONTENT_SECONDS = 10.0
# How long a skipped item that nobody can see stays away: its content may come back.
UNSEEN_SECONDS = 3600.0


@dataclass(frozen=True)
class Desk:
    """Where reviewers work; another tenant's items are not found here."""

    db: Database
    queue: Queue
    outbox: Outbox
    blobs: BlobStore
    personal: Personal
    # Seeds the coin that picks who is checked by a second person.
    salt: str

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

        The same verdict again changes nothing. Raises ItemNotFound, ContentHidden, ClaimedByOther,
        OwnVerdict, AlreadyDecided, BacklogFull, and the errors of `check_verdict`.
        """
        await self.outbox.backlog.check(self.db)
        seen = await self.find(who, item_id)
        exchange, _ = seen.opened()
        # A reviewer may know whom the answer is about, and write what was redacted.
        answer = self._redacted(answer, seen) if answer else answer
        async with self.db.transaction() as tx:
            card = await self.queue.lock(tx, who.tenant, item_id)
            stored, spec = card.opened()
            checked = check_verdict(verdict, answer, exchange.answer, spec, exchange.tools)
            if card.item.state == "done":
                return unchanged(card.item, checked)
            if card.item.not_for == who.name:
                raise OwnVerdict
            item = not_of_another(card.item, who)
            done = decided(item, checked, who, spec, slices_of(item.metadata, spec))
            await self.queue.finish(tx, done)
            await self.outbox.add(tx, review_completed(done, stored))
            first = done.audit and done.second_of is None
            if first and second_look(done.inference_id, self.salt, spec.review):
                await self.queue.ask_second(tx, done)
            return done

    async def undo(self, who: Principal, item_id: str) -> Card:
        """Take a verdict back and say so; the item is in the hands of who did it, as before.

        Doing it again changes nothing. Raises ItemNotFound, ContentHidden, NothingToUndo,
        VerdictOfAnother, BacklogFull.
        """
        await self.outbox.backlog.check(self.db)
        async with self.db.transaction() as tx:
            card = await self.queue.lock(tx, who.tenant, item_id)
            if not undone_by(card.item, who):
                exchange, _ = card.opened()
                await self.outbox.add(tx, withdrawn(card.item, exchange, who.name))
                await self.queue.reopen(tx, card.item, who)
        return await self.find(who, item_id)

    async def put_back(self, who: Principal, item_id: str, unseen: bool = False) -> None:
        """End a claim: others get the item next, and this reviewer gets it again after some time.
        One that is done stays done.

        One that nobody can see (`unseen` says so, or a look does) comes back in an hour, to
        everybody. Raises ItemNotFound and ClaimedByOther.
        """
        unseen = unseen or (await self.find(who, item_id)).trouble is not None
        async with self.db.transaction() as tx:
            card = await self.queue.lock(tx, who.tenant, item_id)
            item = not_of_another(card.item, who)
            if item.state == "open" and unseen:
                await self.queue.put_off(tx, item, item.read_at + UNSEEN_SECONDS)
            elif item.state == "open":
                await self.queue.skip(tx, item, who)

    def _redacted(self, answer: str, seen: Card) -> str:
        """Redact a right answer as its route has it; what the reviewer has from the page stays."""
        exchange, spec = seen.opened()
        item = seen.item
        told = json.dumps(dict(item.metadata), ensure_ascii=False)
        shown = (exchange.model_dump_json(), told, item.suggestion or "")
        redacting = self.personal.of(spec.personal.chosen, item.route, item.inference_id, shown)
        return redacting(answer)

    async def _with_content(self, card: Card) -> Card:
        """Fetch messages and answer where they were too large for the event."""
        exchange = card.item.exchange
        if exchange is None or card.spec is None:
            return troubled(card, card.unreadable, "Unreadable")
        if exchange.content is None:
            return card
        try:
            async with asyncio.timeout(CONTENT_SECONDS):
                content = await read_content(self.blobs, exchange.content)
        # whatever it was, a reviewer must be able to go on
        except Exception as error:  # noqa: BLE001
            return troubled(card, said_of(error), type(error).__name__)
        whole = exchange.model_copy(
            update={
                "messages": content.messages,
                "answer": content.answer,
                "tools": content.tools,
            }
        )
        return replace(card, item=replace(card.item, exchange=whole))


def troubled(card: Card, trouble: str, error: str) -> Card:
    """Return the card as one that can only be skipped; tell the operator, without its content."""
    log("review").warning("content cannot be shown", item_id=card.item.item_id, error=error)
    return replace(card, trouble=trouble)


def said_of(error: Exception) -> str:
    """Say why content cannot be had, in words that carry nothing of it."""
    if isinstance(error, BlobMissing):
        return "it is missing from the artifacts store"
    if isinstance(error, BlobCorrupt):
        return "it was changed in the artifacts store after it was stored"
    if isinstance(error, ValueError):
        return "what the artifacts store holds is not what was asked and answered"
    return f"the artifacts store did not give it ({type(error).__name__})"


def not_of_another(item: ReviewItem, who: Principal) -> ReviewItem:
    """Return the item when this reviewer or no one holds it. Raises ClaimedByOther."""
    if item.claimed and item.claimed_by != who.id:
        raise ClaimedByOther
    return item


def decided(
    item: ReviewItem,
    checked: CheckedVerdict,
    who: Principal,
    spec: RouteSpec,
    slices: Mapping[str, str],
) -> ReviewItem:
    seconds = max(0.0, item.read_at - item.claimed_at) if item.claimed_by == who.id else None
    return replace(
        item,
        state="done",
        verdict=checked.verdict,
        answer=checked.answer,
        reviewer=who.name,
        done_at=time.time(),
        seconds=seconds,
        guideline=spec.guideline,
        slices=slices,
    )


def undone_by(item: ReviewItem, who: Principal) -> bool:
    """Say whether this reviewer took the verdict back already. Raises NothingToUndo and
    VerdictOfAnother.
    """
    if item.state != "done":
        if item.withdrawn and item.claimed and item.claimed_by == who.id:
            return True
        raise NothingToUndo
    if item.reviewer != who.name and "admin" not in who.scopes:
        raise VerdictOfAnother(item.reviewer)
    return False


def unchanged(item: ReviewItem, checked: CheckedVerdict) -> ReviewItem:
    """Return a decided item when it was decided like this. Raises AlreadyDecided."""
    if (item.verdict, item.answer) != (checked.verdict, checked.answer):
        raise AlreadyDecided(item)
    return item

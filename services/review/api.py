"""HTTP in, for programs: the same queue and rules as the pages. The tenant is the key's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from schemas.events import Verdict
from services.review.desk import Desk
from services.review.items import Card
from services.review.store.comparisons import Comparisons
from services.review.store.queue import Queue
from services.review.store.statistics import Statistics
from services.review.verdicts import MAX_ANSWER
from services.review.views import CardView, ItemView, QueueView, StatsView
from shared.http import Id, Limit, Offset, Principal, RequestBody, Wanted, require
from shared.storage import Database
from shared.telemetry import log

Reviewer = Annotated[Principal, Depends(require("review"))]


class NextRequest(RequestBody):
    route: Annotated[str, Field(max_length=200)] | None = None


class VerdictRequest(RequestBody):
    verdict: Verdict
    answer: str | None = Field(
        default=None, max_length=MAX_ANSWER, description="the right answer, when corrected"
    )


@dataclass(frozen=True)
class ReviewApi:
    db: Database
    desk: Desk
    queue: Queue
    statistics: Statistics
    comparisons: Comparisons

    async def list_queue(
        self, who: Reviewer, route: Wanted = None, limit: Limit = 50, offset: Offset = 0
    ) -> QueueView:
        """List what waits, in the order in which it will be handed out."""
        async with self.db.read() as connection:
            counts = await self.statistics.counts(connection, who.tenant)
            items = await self.queue.waiting(connection, who.tenant, route, limit, offset)
        by_route = counts.open_by_route
        waiting = by_route.get(route, 0) if route else sum(by_route.values())
        return QueueView(
            open=waiting,
            by_route=by_route,
            by_reason=counts.open_by_reason,
            items=[ItemView.of(item) for item in items],
            next=offset + limit if offset + limit < waiting else None,
        )

    async def next_item(self, who: Reviewer, body: NextRequest | None = None) -> Response:
        """Claim the next item: nobody else gets it until the claim expires, is released, or a
        verdict is given.
        """
        card = await self.desk.take(who, body.route if body else None)
        return card_as_json(card) if card else Response(status_code=204)

    async def item(self, item_id: Id, who: Reviewer) -> Response:
        return card_as_json(await self.desk.find(who, item_id))

    async def verdict(self, item_id: Id, body: VerdictRequest, who: Reviewer) -> Response:
        """Decide an item. The same verdict again is answered the same; a different one is refused
        with 409.
        """
        done = await self.desk.give_verdict(who, item_id, body.verdict, body.answer)
        return as_json(ItemView.of(done))

    async def undo(self, item_id: Id, who: Reviewer) -> Response:
        """Take back a verdict of one's own, or with the scope admin of another: the item is open
        again, and claimed.
        """
        return card_as_json(await self.desk.undo(who, item_id))

    async def release(self, item_id: Id, who: Reviewer) -> None:
        """Give an item back unanswered: it comes again after all others, and one whose content
        nobody can see in an hour.
        """
        await self.desk.put_back(who, item_id)

    async def stats(self, who: Reviewer) -> StatsView:
        async with self.db.read() as connection:
            counts = await self.statistics.counts(connection, who.tenant)
            waiting = await self.comparisons.open_count(connection, who.tenant)
            undecided = (
                await self.statistics.undecided_audits(connection, who.tenant)
                if "admin" in who.scopes
                else None
            )
        return StatsView.of(counts, waiting, undecided)


def review_api(
    db: Database, desk: Desk, queue: Queue, statistics: Statistics, comparisons: Comparisons
) -> APIRouter:
    api = ReviewApi(db, desk, queue, statistics, comparisons)
    router = APIRouter(prefix="/v1", tags=["review"])
    router.get("/queue", name="queue")(api.list_queue)
    router.post(
        "/queue/next", response_model=CardView, responses={204: {"description": "nothing waits"}}
    )(api.next_item)
    router.get("/items/{item_id}", response_model=CardView)(api.item)
    router.post("/items/{item_id}/verdict", response_model=ItemView)(api.verdict)
    router.post("/items/{item_id}/undo", response_model=CardView)(api.undo)
    router.post("/items/{item_id}/release", status_code=204)(api.release)
    router.get("/stats")(api.stats)
    return router


def card_as_json(card: Card) -> Response:
    """Answer with a card; where its content cannot be written, with the card without it."""
    try:
        return as_json(CardView.of_card(card))
    except Exception as error:  # noqa: BLE001 - whatever it was, the item can be released
        kind = type(error).__name__
        log("review").error("item not shown", item_id=card.item.item_id, error=kind)
        return as_json(CardView.hidden(card, f"it cannot be written as JSON ({kind})"))


def as_json(view: BaseModel) -> Response:
    """Answer with a view as it is: it is valid, and FastAPI would validate it a second time, which
    costs more than the query.
    """
    return Response(view.model_dump_json(), media_type="application/json")

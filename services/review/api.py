"""HTTP in, for programs: the same queue and the same rules as the pages. Scope `review`; the tenant
is the key's.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Verdict
from services.review.desk import Desk
from services.review.views import CardView, ItemView, QueueView, StatsView
from shared.http.auth import Principal, require

router = APIRouter(prefix="/v1", tags=["review"])
Reviewer = Annotated[Principal, Depends(require("review"))]
Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
MAX_ANSWER = (
    65_536  # characters; with four bytes each, a verdict's answer still fits an event of 256 KiB
)


class NextRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    route: str | None = None


class VerdictRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    verdict: Verdict
    answer: str | None = Field(
        default=None, max_length=MAX_ANSWER, description="the right answer, when corrected"
    )


async def desk_of(request: Request) -> Desk:
    return request.app.state.desk


Working = Annotated[Desk, Depends(desk_of)]


def as_json(view: BaseModel) -> Response:
    """A view is valid already: FastAPI would validate it a second time, which costs more than the
    query.
    """
    return Response(view.model_dump_json(), media_type="application/json")


@router.get("/queue")
async def queue(
    who: Reviewer,
    request: Request,
    desk: Working,
    route: str | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> QueueView:
    """What waits, in the order in which it will be handed out."""
    async with desk.db.read() as connection:
        counts = await request.app.state.statistics.counts(connection, who.tenant)
        items = await desk.queue.waiting(connection, who.tenant, route, limit, offset)
    waiting = counts.open_by_route.get(route, 0) if route else sum(counts.open_by_route.values())
    return QueueView(
        open=waiting,
        by_route=counts.open_by_route,
        by_reason=counts.open_by_reason,
        items=[ItemView.of(item) for item in items],
        next=offset + limit if offset + limit < waiting else None,
    )


@router.post(
    "/queue/next", response_model=CardView, responses={204: {"description": "nothing waits"}}
)
async def next_item(who: Reviewer, desk: Working, body: NextRequest | None = None) -> Response:
    """Claim the next item: nobody else gets it until the claim expires, is released, or a verdict
    is given.
    """
    card = await desk.take(who, body.route if body else None)
    return as_json(CardView.of_card(card)) if card else Response(status_code=204)


@router.get("/items/{item_id}")
async def item(item_id: str, who: Reviewer, desk: Working) -> CardView:
    return CardView.of_card(await desk.show(who, item_id))


@router.post("/items/{item_id}/verdict", response_model=ItemView)
async def verdict(item_id: str, body: VerdictRequest, who: Reviewer, desk: Working) -> Response:
    """Decide an item. The same verdict again is answered the same; a different one is refused with
    409.
    """
    return as_json(ItemView.of(await desk.settle(who, item_id, body.verdict, body.answer)))


@router.post("/items/{item_id}/release", status_code=204)
async def release(item_id: str, who: Reviewer, desk: Working) -> None:
    """Give an item back unanswered: it comes again after all others."""
    await desk.put_back(who, item_id)


@router.get("/stats")
async def stats(who: Reviewer, request: Request, desk: Working) -> StatsView:
    async with desk.db.read() as connection:
        return StatsView.of(await request.app.state.statistics.counts(connection, who.tenant))

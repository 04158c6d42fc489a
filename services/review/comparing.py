"""Which of two answers is better: pairs come in by event, go out to reviewers who do not know whose
they are, and come back as judgements.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Message
from schemas.comparisons import AnswersCompared, ComparisonRequested, Judgement
from schemas.events import AdapterEvaluated
from services.review.store.comparisons import Comparison, Comparisons
from shared.errors import Conflict
from shared.events import Outbox
from shared.http import Id, Principal, RequestBody, Wanted, require
from shared.rules import read_compared
from shared.storage import BlobStore, Database

Reviewer = Annotated[Principal, Depends(require("review"))]
# How long a store of artifacts may take to give the content of one pair.
CONTENT_SECONDS = 10.0


class ComparedByOther(Conflict):
    def __init__(self) -> None:
        super().__init__("another reviewer has this pair open; take the next one instead")


class AlreadyCompared(Conflict):
    def __init__(self, judgement: str | None) -> None:
        super().__init__(
            f"this pair was already judged '{judgement}', and counts; take the next one instead"
        )


class JudgementRequest(RequestBody):
    comparison_id: Id
    judgement: Judgement = Field(
        description="the better answer; tie: both are as good; neither: both are of no use"
    )


class ComparisonView(BaseModel):
    """Two answers to one question. Whose they are is told to nobody: judgements would lean."""

    comparison_id: str
    route: str
    messages: tuple[Message, ...]
    left: str
    right: str


class JudgedView(BaseModel):
    comparison_id: str
    judgement: Judgement
    reviewer: str


@dataclass(frozen=True)
class Comparing:
    db: Database
    comparisons: Comparisons
    outbox: Outbox
    blobs: BlobStore

    async def on_comparison_requested(
        self, tx: AsyncConnection, event: ComparisonRequested
    ) -> None:
        await self.comparisons.add(tx, event)

    async def on_adapter_evaluated(self, tx: AsyncConnection, event: AdapterEvaluated) -> None:
        """Ask nobody any more which of its answers is better: that is decided."""
        at = event.occurred_at.timestamp()
        await self.comparisons.conclude(tx, event.evaluation_id, at)

    async def take(self, who: Reviewer, route: Wanted = None) -> Response:
        """Claim the next pair, or get the one that is still open: nobody else gets it until it is
        judged, skipped, or its claim expires.
        """
        async with self.db.transaction() as tx:
            taken = await self.comparisons.take(tx, who, route)
        if taken is None:
            return Response(status_code=204)
        view = await self._shown(taken.request)
        return Response(view.model_dump_json(), media_type="application/json")

    async def judge(self, body: JudgementRequest, who: Reviewer) -> JudgedView:
        """Judge a pair and publish it, both or neither. The same judgement by the same reviewer
        again is answered the same; any other is refused with 409.
        """
        await self.outbox.backlog.check(self.db)
        async with self.db.transaction() as tx:
            pair = await self.comparisons.lock(tx, who, body.comparison_id)
            if pair.judgement is None:
                free_for(pair, who)
                await self.comparisons.finish(tx, pair, body.judgement, who)
                await self.outbox.add(tx, answers_compared(pair, body.judgement, who))
            elif (pair.judgement, pair.reviewer) != (body.judgement, who.name):
                raise AlreadyCompared(pair.judgement)
        return JudgedView(
            comparison_id=body.comparison_id, judgement=body.judgement, reviewer=who.name
        )

    async def skip(self, comparison_id: Id, who: Reviewer) -> None:
        """Give a pair back: others get it next, and who skipped it after some time."""
        async with self.db.transaction() as tx:
            pair = await self.comparisons.lock(tx, who, comparison_id)
            if pair.judgement is None:
                free_for(pair, who)
                await self.comparisons.skip(tx, pair, who)

    async def _shown(self, request: ComparisonRequested) -> ComparisonView:
        shown = request
        if request.content is not None:
            async with asyncio.timeout(CONTENT_SECONDS):
                whole = await read_compared(self.blobs, request.content)
            shown = request.model_copy(update=dict(whole))
        return ComparisonView.model_validate(shown, from_attributes=True)


def free_for(pair: Comparison, who: Principal) -> None:
    """Raise ComparedByOther where somebody else holds the pair."""
    if pair.claimed and pair.claimed_by != who.id:
        raise ComparedByOther


def answers_compared(pair: Comparison, judgement: Judgement, who: Principal) -> AnswersCompared:
    seconds = pair.read_at - pair.claimed_at if pair.claimed_by == who.id else None
    return AnswersCompared(
        tenant=pair.request.tenant,
        route=pair.request.route,
        comparison_id=pair.request.comparison_id,
        evaluation_id=pair.request.evaluation_id,
        judgement=judgement,
        judge="person",
        by=who.name,
        seconds=None if seconds is None else max(0.0, seconds),
    )


def comparisons_api(comparing: Comparing) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["comparisons"])
    router.get(
        "/comparisons/next",
        response_model=ComparisonView,
        responses={204: {"description": "nothing waits"}},
    )(comparing.take)
    router.post("/comparisons")(comparing.judge)
    router.post("/comparisons/{comparison_id}/release", status_code=204)(comparing.skip)
    return router

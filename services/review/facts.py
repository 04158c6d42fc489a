"""What review says: a verdict, the end of one, and one again whose inclusion changed after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from schemas.events import ReviewCompleted
from services.review.items import Exchange, ReviewItem


def review_completed(item: ReviewItem, exchange: Exchange) -> ReviewCompleted:
    """Make the event of a decided item; it refers to large content again and never copies it."""
    return ReviewCompleted(
        occurred_at=datetime.fromtimestamp(item.done_at or 0.0, UTC),
        tenant=item.tenant,
        route=item.route,
        review_id=item.review_id,
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
        session=exchange.session,
        seconds=item.seconds,
        supersedes=item.supersedes,
        second_of=item.second_of,
        slices=dict(item.slices),
        guideline=item.guideline,
        tools=exchange.tools,
    )


def withdrawn(item: ReviewItem, exchange: Exchange, by: str) -> ReviewCompleted:
    """Make the event of a verdict that is taken back: the verdict again, and who took it back."""
    said = review_completed(item, exchange)
    return said.model_copy(
        update={"withdrawn": True, "reviewer": by, "occurred_at": datetime.now(UTC)}
    )


def included(item: ReviewItem, exchange: Exchange) -> ReviewCompleted:
    """Make the event of a verdict before a complaint: the same, but it was reviewed for sure."""
    return review_completed(replace(item, probability=1.0), exchange)

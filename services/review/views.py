"""What a reviewer is told about an item. Review is blind: not whether the item is audited, nor its
coin, nor which model answered.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from schemas.base import Confidence, JsonObject, Message
from schemas.events import Verdict
from services.review.items import Card, ReviewItem
from services.review.store.statistics import Counts

WHY = {
    "feedback": "A user said that this answer is wrong.",
    "drift": (
        "Requests on this route have changed; this answer is part of a batch that is checked in"
        " full."
    ),
    "unsure": "No model was sure enough about this one.",
    "sampled": "Drawn at random, to keep an eye on quality.",
}


class ConfidenceView(BaseModel):
    """`probability` is calibrated when `calibrated`; otherwise it is the model's own, which tends
    to flatter.
    """

    probability: float
    calibrated: bool

    @classmethod
    def of(cls, confidence: Confidence) -> ConfidenceView:
        calibrated = confidence.p_correct is not None
        return cls(
            probability=confidence.p_correct if calibrated else confidence.score,
            calibrated=calibrated,
        )


class ItemView(BaseModel):
    item_id: str
    inference_id: str
    route: str
    state: Literal["open", "claimed", "done"]
    reason: str
    why: str
    messages: tuple[Message, ...]
    answer: str
    suggestion: str | None
    confidence: ConfidenceView | None
    asked_at: datetime
    claimed_until: datetime | None
    verdict: Verdict | None
    right_answer: str | None
    reviewer: str | None
    decided_at: datetime | None

    @classmethod
    def of(cls, item: ReviewItem) -> ItemView:
        return cls(**fields_of(item))


class CardView(ItemView):
    """An item in full, with the answers its route allows."""

    task: str
    labels: tuple[str, ...]
    approvable: bool

    @classmethod
    def of_card(cls, card: Card) -> CardView:
        return cls(
            **fields_of(card.item),
            task=card.spec.task,
            labels=card.spec.labels,
            approvable=card.approvable,
        )


class QueueView(BaseModel):
    open: int
    by_route: dict[str, int]
    by_reason: dict[str, int]
    items: list[ItemView]
    next: int | None


class StatsView(BaseModel):
    open: int
    done_today: int
    open_by_route: dict[str, int]
    open_by_reason: dict[str, int]
    done_today_by_route: dict[str, int]
    done_today_by_reviewer: dict[str, int]
    p50_seconds: float | None

    @classmethod
    def of(cls, counts: Counts) -> StatsView:
        return cls(
            open=sum(counts.open_by_route.values()),
            done_today=sum(counts.done_today_by_route.values()),
            open_by_route=counts.open_by_route,
            open_by_reason=counts.open_by_reason,
            p50_seconds=counts.p50_seconds,
            done_today_by_route=counts.done_today_by_route,
            done_today_by_reviewer=counts.done_today_by_reviewer,
        )


def fields_of(item: ReviewItem) -> JsonObject:
    """Return what every view of an item shows."""
    exchange = item.exchange
    return {
        "item_id": item.item_id,
        "inference_id": item.inference_id,
        "route": item.route,
        "state": "claimed" if item.claimed else item.state,
        "reason": item.shown_reason,
        "why": WHY[item.shown_reason],
        "messages": exchange.messages,
        "answer": exchange.answer,
        "suggestion": item.suggestion,
        "confidence": exchange.confidence and ConfidenceView.of(exchange.confidence),
        "asked_at": exchange.occurred_at,
        "claimed_until": moment(item.claimed_until) if item.claimed else None,
        "verdict": item.verdict,
        "right_answer": item.answer,
        "reviewer": item.reviewer,
        "decided_at": moment(item.done_at),
    }


def moment(epoch: float | None) -> datetime | None:
    """Return the UTC time of seconds since the epoch."""
    return datetime.fromtimestamp(epoch, UTC) if epoch else None

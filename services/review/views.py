"""What a reviewer is told about an item. Not: whether it is audited, its coin, or which model
answered (blind review).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel

from schemas.base import Confidence, Message
from schemas.events import Verdict
from services.review.items import Card, Item
from services.review.ports import Counts

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
    def of(cls, item: Item, **more: Any) -> Self:
        asked = item.asked
        return cls(
            item_id=item.item_id,
            inference_id=item.inference_id,
            route=item.route,
            state="claimed" if item.claimed else item.state,
            reason=item.shown_reason,
            why=WHY[item.shown_reason],
            messages=asked.messages,
            answer=asked.answer,
            suggestion=item.suggestion,
            confidence=asked.confidence and ConfidenceView.of(asked.confidence),
            asked_at=asked.occurred_at,
            claimed_until=moment(item.claimed_until) if item.claimed else None,
            verdict=item.verdict,
            right_answer=item.answer,
            reviewer=item.reviewer,
            decided_at=moment(item.done_at),
            **more,
        )


class CardView(ItemView):
    """An item in full, with the answers its route allows."""

    task: str
    labels: tuple[str, ...]
    approvable: bool

    @classmethod
    def of_card(cls, card: Card) -> CardView:
        return cls.of(
            card.item, task=card.spec.task, labels=card.spec.labels, approvable=card.approvable
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


def moment(epoch: float | None) -> datetime | None:
    return datetime.fromtimestamp(epoch, UTC) if epoch else None

"""What a reviewer is told about an item. Review is blind: not whether the item is audited, nor its
coin, nor which model answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from schemas.base import Confidence, JsonObject, Message
from schemas.events import Verdict
from services.review.items import ROW_UNREADABLE, Card, ReviewItem
from services.review.store.statistics import Counts, Undecided

WHY = {
    "feedback": "A user said that this answer is wrong.",
    "drift": (
        "Requests on this route have changed; this answer is part of a batch that is checked in"
        " full."
    ),
    "unsure": "No model was sure enough about this one.",
    "sampled": "Drawn at random, to keep an eye on quality.",
    "disagreed": "Reviewers disagreed about this question.",
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
    state: Literal["open", "claimed", "put_off", "done"]
    reason: str
    why: str
    messages: tuple[Message, ...]
    answer: str
    trouble: str | None = Field(description="why its content cannot be shown; skip such an item")
    tools: tuple[JsonObject, ...] = Field(description="what the model could call")
    suggestion: str | None
    confidence: ConfidenceView | None
    asked_at: datetime | None
    claimed_until: datetime | None
    back_at: datetime | None = Field(description="nobody gets it before, where it is put_off")
    verdict: Verdict | None
    right_answer: str | None
    reviewer: str | None
    decided_at: datetime | None

    @classmethod
    def of(cls, item: ReviewItem) -> ItemView:
        return cls(**fields_of(item))


class CardView(ItemView):
    """An item in full, with the answers its route allows."""

    task: str | None
    labels: tuple[str, ...]
    approvable: bool
    guideline: str | None

    @classmethod
    def of_card(cls, card: Card) -> CardView:
        if card.trouble or card.spec is None:
            return cls.hidden(card, card.trouble or card.unreadable)
        return cls(
            **fields_of(card.item),
            task=card.spec.task,
            labels=card.spec.labels,
            approvable=card.flaw is None,
            guideline=card.spec.guideline,
        )

    @classmethod
    def hidden(cls, card: Card, trouble: str) -> CardView:
        """Return an item whose content cannot be shown."""
        return cls(
            **fields_of(replace(card.item, exchange=None), trouble),
            task=card.spec.task if card.spec else None,
            labels=card.spec.labels if card.spec else (),
            approvable=False,
            guideline=card.spec.guideline if card.spec else None,
        )


class QueueView(BaseModel):
    open: int
    by_route: dict[str, int]
    by_reason: dict[str, int]
    items: list[ItemView]
    next: int | None


class UndecidedView(BaseModel):
    open: int
    skipped: int = Field(description="of the open ones, by somebody")


class StatsView(BaseModel):
    open: int
    put_off: int
    skipped: int = Field(description="open ones that somebody skipped; they come back")
    second_looks: int = Field(
        description="open ones that are decided, and wait for a second person who does not know"
    )
    comparisons: int = Field(description="pairs of answers that wait for a judgement")
    done_today: int
    open_by_route: dict[str, int]
    open_by_reason: dict[str, int]
    done_today_by_route: dict[str, int]
    done_today_by_reviewer: dict[str, int]
    p50_seconds: float | None
    undecided_audits: dict[str, UndecidedView] | None = Field(
        description="audited answers that no certificate counts yet, by route; null but for keys"
        " with the scope admin, since reviewers are not to learn what is audited"
    )

    @classmethod
    def of(
        cls, counts: Counts, comparisons: int = 0, undecided: Mapping[str, Undecided] | None = None
    ) -> StatsView:
        return cls(
            undecided_audits=undecided
            and {route: UndecidedView(**vars(each)) for route, each in undecided.items()},
            comparisons=comparisons,
            open=sum(counts.open_by_route.values()),
            put_off=counts.put_off,
            skipped=counts.skipped,
            second_looks=counts.second_looks,
            done_today=sum(counts.done_today_by_route.values()),
            open_by_route=counts.open_by_route,
            open_by_reason=counts.open_by_reason,
            p50_seconds=counts.p50_seconds,
            done_today_by_route=counts.done_today_by_route,
            done_today_by_reviewer=counts.done_today_by_reviewer,
        )


def fields_of(item: ReviewItem, trouble: str | None = None) -> JsonObject:
    """Return what every view of an item shows."""
    exchange = item.exchange
    confidence = exchange.confidence if exchange else None
    return {
        "item_id": item.item_id,
        "inference_id": item.inference_id,
        "route": item.route,
        "state": state_of(item),
        "reason": item.shown_reason,
        "why": why(item),
        "messages": exchange.messages if exchange else (),
        "answer": exchange.answer if exchange else "",
        "tools": exchange.tools if exchange else (),
        "trouble": trouble or (None if exchange else ROW_UNREADABLE),
        "suggestion": item.suggestion,
        "confidence": confidence and ConfidenceView.of(confidence),
        "asked_at": exchange.occurred_at if exchange else None,
        "claimed_until": moment(item.claimed_until) if item.claimed else None,
        "back_at": moment(item.claimed_until) if item.put_off else None,
        "verdict": item.verdict,
        "right_answer": item.answer,
        "reviewer": item.reviewer,
        "decided_at": moment(item.done_at),
    }


def why(item: ReviewItem) -> str:
    """Say why an item is in the queue, and what reviewers disagreed about."""
    said = ", ".join(f"{answer} ({times})" for answer, times in item.disagreement.items())
    return f"Reviewers disagreed: {said}." if said else WHY[item.shown_reason]


def state_of(item: ReviewItem) -> str:
    if item.put_off:
        return "put_off"
    return "claimed" if item.claimed else item.state


def moment(epoch: float | None) -> datetime | None:
    """Return the UTC time of seconds since the epoch."""
    return datetime.fromtimestamp(epoch, UTC) if epoch else None

"""A request that was served, as it is recorded and published."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.events import InferenceRecorded, ReviewRequested
from services.router.answers import ChatAnswer
from services.router.chat import ChatQuestion
from shared.rules import session_hash


@dataclass(frozen=True)
class KeptRepeat:
    """What is kept of an answer for a request that may come again."""

    key: str
    request: str
    inference_id: str
    is_whole: bool
    finish_reason: str
    tool: str | None
    # Seconds since the epoch.
    at: float


@dataclass(frozen=True)
class Served:
    """All that is stored of one request."""

    inference: InferenceRecorded
    review: ReviewRequested | None
    # The adapter that the request was given to.
    picked: str | None
    # Whether that adapter did not answer, or broke the format.
    failed: bool
    repeat: KeptRepeat | None = None


@dataclass(frozen=True)
class Unanswered:
    """A request that an adapter was given and nobody answered."""

    tenant: str
    route: str
    picked: str
    # Whether that is the adapter's fault; else its caller left soon.
    failed: bool


def as_served(
    tenant: str,
    asked: ChatQuestion,
    answered: ChatAnswer,
    latency_ms: float,
    picked: str | None,
    failed: bool,
    repeat: KeptRepeat | None,
) -> Served:
    """Put together what is recorded; only an unsure answer asks for a review, and
    none that lacks nothing but a certificate: review samples those.
    """
    chosen = answered.attempt
    inference = InferenceRecorded(
        tenant=tenant,
        route=asked.route,
        inference_id=answered.inference_id,
        messages=asked.messages,
        answer=chosen.answer,
        arm=chosen.arm,
        model=chosen.model,
        adapter_id=chosen.adapter_id,
        confidence=chosen.confidence,
        outcome=answered.outcome,
        attempts=answered.attempts,
        route_version=answered.route_version,
        latency_ms=latency_ms,
        prompt_tokens=answered.prompt_tokens,
        completion_tokens=answered.completion_tokens,
        metadata=asked.metadata,
        session=session_hash(asked.route, asked.session if asked.session_told else None),
        tools=answered.tools,
        cut=answered.is_cut,
        provisional=answered.is_provisional,
    )
    review = None
    if answered.outcome == "unsure" and not (answered.is_cut or answered.is_provisional):
        review = ReviewRequested(
            tenant=tenant,
            route=asked.route,
            inference_id=answered.inference_id,
            confidence=chosen.confidence,
        )
    return Served(inference, review, picked, failed, repeat)

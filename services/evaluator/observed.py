"""What is watched of an answer: numbers and a label, never its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from schemas.answers import normalise, well_formed
from schemas.base import Attempt, Confidence
from schemas.events import InferenceRecorded, RouteChanged
from schemas.route import RouteSpec
from services.evaluator.drift import BUCKETS, Sample, fingerprint

TOO_LARGE = 50_000  # words; content over 256 KiB is not on the event, and is certainly long


@dataclass(frozen=True)
class Observation:
    """One request as the champion met it, whether or not its answer was the one that was sent."""

    inference_id: str
    route: str
    adapter_id: str
    at: float  # seconds since the epoch
    score: float
    p_correct: float | None
    label: str
    words: int
    wording: bytes
    outcome: str


def champions_attempt(event: InferenceRecorded) -> Attempt | None:
    """Also when the router fell back: watching only what the champion was sure of would hide the
    drift.
    """
    for attempt in event.attempts:
        if attempt.arm == "champion" and attempt.adapter_id and attempt.confidence:
            return attempt
    if event.arm == "champion" and event.adapter_id and event.confidence:
        return Attempt(
            arm="champion",
            model=event.model,
            adapter_id=event.adapter_id,
            answer=event.answer,
            confidence=event.confidence,
            latency_ms=event.latency_ms or 0.0,
        )
    return None


def observe(event: InferenceRecorded, attempt: Attempt, spec: RouteSpec) -> Observation:
    text = " ".join(message.content for message in event.messages if message.role == "user")
    confidence: Confidence = attempt.confidence
    return Observation(
        inference_id=event.inference_id,
        route=event.route,
        adapter_id=attempt.adapter_id,
        at=event.occurred_at.timestamp(),
        score=confidence.score,
        p_correct=confidence.p_correct,
        label=answer_label(attempt.answer, spec),
        outcome=event.outcome,
        words=TOO_LARGE if event.content else len(text.split()),
        wording=bytes(BUCKETS) if event.content else fingerprint(text),
    )


def answer_label(answer: str, spec: RouteSpec) -> str:
    """The label that was answered; other tasks are only watched for their format."""
    if not well_formed(answer, spec):
        return "(malformed)"
    return normalise(answer, spec) if spec.task == "classification" else "(well formed)"


def as_sample(rows: Sequence[Any]) -> Sample:
    wording = np.frombuffer(b"".join(row.wording for row in rows), dtype=np.uint8).reshape(
        len(rows), BUCKETS
    )
    return Sample(
        np.array([row.score for row in rows]),
        np.array([row.words for row in rows]),
        [row.label for row in rows],
        wording,
    )


def episode_of(state: RouteChanged) -> str | None:
    """While this stays the same, one input alarm is enough. None: no champion, nothing to watch.

    A new champion starts over, and so does an owner who redefines what an answer means: what is
    normal has changed.
    """
    if state.champion is None:
        return None
    spec = state.spec
    meaning = (
        state.champion.adapter_id,
        spec.task,
        spec.labels,
        spec.output_schema,
        spec.system_prompt,
        spec.drift.model_dump(),
    )
    return sha256(repr(meaning).encode()).hexdigest()[:32]

"""What is watched of an answer: numbers and a label, never its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from schemas.answers import normalise, well_formed
from schemas.base import Attempt, Confidence
from schemas.events import InferenceRecorded, RouteChanged
from schemas.route import RouteSpec
from services.evaluator.drift import BUCKETS, Sample, fingerprint

# Words. Content over 256 KiB is not on the event; its length is not known, but certainly large.
TOO_LARGE = 50_000


# What stands for the adapter where the base model answers alone.
NO_ADAPTER = ""


@dataclass(frozen=True)
class WatchedAnswer:
    """What the champion answered to one request, or the base model where nothing else serves."""

    adapter_id: str
    answer: str
    confidence: Confidence | None


@dataclass(frozen=True)
class Observation:
    """One request as what serves the route met it, whether or not its answer was sent."""

    inference_id: str
    route: str
    adapter_id: str
    # Seconds since the epoch.
    at: float
    score: float
    p_correct: float | None
    label: str
    # Of what the user wrote.
    words: int
    # `drift.fingerprint` of what the user wrote.
    wording: bytes
    outcome: str


@dataclass(frozen=True)
class StoredObservation(Observation):
    # Counts in the order of arrival.
    seq: int


@dataclass(frozen=True)
class AuditedVerdict:
    """What a reviewer said to an answer of the champion that was chosen by chance."""

    # Seconds since the epoch.
    at: float
    right: bool
    score: float


def champion_answer(event: InferenceRecorded) -> WatchedAnswer | None:
    """Return the champion's own answer, also where the router fell back to the base model.

    Watching only what the champion was sure of would hide the drift. An answer that was cut says
    nothing: its app left.
    """
    if event.cut:
        return None
    said: list[Attempt | InferenceRecorded] = [*event.attempts, event]
    for answer in said:
        if answer.arm == "champion" and answer.adapter_id and answer.confidence:
            return WatchedAnswer(answer.adapter_id, answer.answer, answer.confidence)
    return None


def answer_without_champion(event: InferenceRecorded) -> WatchedAnswer | None:
    """Return what was answered on a route that no adapter serves; a challenger's share is left
    out.
    """
    if event.cut or event.arm != "base":
        return None
    return WatchedAnswer(NO_ADAPTER, event.answer, event.confidence)


def observe(event: InferenceRecorded, watched: WatchedAnswer, spec: RouteSpec) -> Observation:
    text = " ".join(message.content for message in event.messages if message.role == "user")
    return Observation(
        inference_id=event.inference_id,
        route=event.route,
        adapter_id=watched.adapter_id,
        at=event.occurred_at.timestamp(),
        score=watched.confidence.score if watched.confidence else 0.0,
        p_correct=watched.confidence.p_correct if watched.confidence else None,
        label=answer_label(watched.answer, spec),
        outcome=event.outcome,
        words=TOO_LARGE if event.content else len(text.split()),
        wording=bytes(BUCKETS) if event.content else fingerprint(text),
    )


def answer_label(answer: str, spec: RouteSpec) -> str:
    """Return the label that was answered; other tasks are only watched for their format."""
    if not well_formed(answer, spec):
        return "(malformed)"
    return normalise(answer, spec) if spec.task == "classification" else "(well formed)"


def as_sample(observations: Sequence[Observation]) -> Sample:
    wording = np.frombuffer(b"".join(seen.wording for seen in observations), dtype=np.uint8)
    return Sample(
        score=np.array([seen.score for seen in observations]),
        words=np.array([seen.words for seen in observations]),
        label=[seen.label for seen in observations],
        wording=wording.reshape(len(observations), BUCKETS),
    )


def episode_of(state: RouteChanged) -> str:
    """Return the name of the route's episode: what is normal holds for as long as it stays.

    A new champion starts over, and so does an owner who redefines what an answer means.
    """
    spec = state.spec
    meaning = (
        state.champion and state.champion.adapter_id,
        spec.task,
        spec.labels,
        spec.output_schema,
        spec.system_prompt,
        spec.drift.model_dump(),
        # Only where it is not what all routes had before there was a choice.
        *([spec.system] if spec.system != "replace" else []),
        *([spec.template_arguments] if spec.template_arguments else []),
    )
    return sha256(repr(meaning).encode()).hexdigest()[:32]

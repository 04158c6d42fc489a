"""The shapes a verdict takes on its way into a dataset: as stored, and as compared with the
others.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.base import BlobRef


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A verdict with an answer. Moments are microseconds since the epoch.

    What older releases did not keep is None.
    """

    review_id: str
    inference_id: str
    reviewer: str
    reviewed_us: int
    # approved | corrected | rejected
    label_source: str
    # JSON: the turns the app sent, without the answer.
    messages: str
    # Empty where it was rejected: none can be given.
    answer: str
    audit: bool
    asked_us: int | None = None
    # Who asked, as far as the app tells: a hash.
    session: str | None = None
    # Why the item was sampled: audit, sampled, unsure, drift, feedback.
    reason: str | None = None
    # The version of the guideline that the reviewer followed.
    guideline: str | None = None
    model_answer: str | None = None
    arm: str | None = None
    adapter_id: str | None = None
    # The inclusion that acted, and the coin it was held against.
    probability: float | None = None
    coin: float | None = None
    # JSON: values by key, of the metadata that the route's slices name.
    slices: str | None = None

    @property
    def order(self) -> tuple[int, str]:
        return self.reviewed_us, self.review_id


@dataclass(frozen=True, slots=True)
class UnopenedRow:
    """A row whose turns were too large for an event: `content` says where they are stored."""

    row: DatasetRow
    content: BlobRef


@dataclass(frozen=True)
class BuildVerdicts:
    """All verdicts of a route up to one build, oldest first."""

    rows: list[DatasetRow]
    unopened: list[UnopenedRow]
    # Verdicts without an answer that are no rows: only audited ones are, since every answer to
    # them is wrong.
    rejected: int


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, once for all rows that ask it in the same bytes."""

    # JSON: the turns as trained on, redacted; the app's system turn only where the route serves it.
    asked: str
    # The app's system turn where the route's own takes its place, in training and in serving.
    unserved: str
    # SHA-256 of roles and content as matched: equal keys are the same question.
    key: bytes
    # Keys of the shorter conversations that this one goes on from.
    earlier: tuple[bytes, ...]
    # What similarity is measured on.
    text: str
    was_redacted: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A usable row and what it is compared by."""

    row: DatasetRow
    question: Question
    # The answer as trained on.
    answer: str
    # The answer as compared.
    form: str
    # The route's spelling of the label; empty for other tasks.
    label: str
    # Inputs this similar are never parted by chance: they share one split.
    cluster: int = 0
    # How many verdicts said this of this question.
    count: int = 1
    # Of an audited one: whether adapters know its question (repeated) or not (first_seen).
    stratum: str | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A verdict that is not trained on, and why; `twin` is the review that it gave way to."""

    row: DatasetRow
    reason: str
    twin: str | None = None

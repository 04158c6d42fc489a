"""The shapes a verdict takes on its way into a dataset: as stored, and as compared with the
others.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.base import BlobRef


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A verdict with an answer."""

    review_id: str
    inference_id: str
    reviewer: str
    # Microseconds since the epoch.
    reviewed_us: int
    # approved | corrected
    label_source: str
    # JSON: the turns the model saw, without system prompt and without answer.
    messages: str
    answer: str
    audit: bool

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
    # Verdicts without an answer.
    rejected: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A usable row and what it is compared by."""

    row: DatasetRow
    # The input, normalised for matching only.
    text: str
    # SHA-256 of roles and text: equal keys are exact duplicates.
    key: bytes
    # The answer as compared.
    form: str
    # The route's spelling of the label; empty for other tasks.
    label: str
    # Inputs this similar are never parted: they share one split.
    cluster: int = 0
    # Near duplicates, within the cluster.
    twins: int = 0

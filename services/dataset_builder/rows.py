"""The shapes a verdict takes on its way into a dataset: as stored, and as compared with the
others.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A verdict with an answer. `messages` is JSON: the turns the model saw, without system prompt
    and without answer.
    """

    review_id: str
    inference_id: str
    reviewer: str
    reviewed_us: int  # microseconds since the epoch
    label_source: str  # approved | corrected
    messages: str
    answer: str
    audit: bool

    @property
    def order(self) -> tuple[int, str]:
        return self.reviewed_us, self.review_id


@dataclass(frozen=True, slots=True)
class Item:
    """A usable row and what it is compared by."""

    row: Row
    text: str  # the input, normalised for matching only
    key: bytes  # sha256 of roles and text: equal keys are exact duplicates
    form: str  # the answer as compared
    label: str  # the route's spelling of the label; empty for other tasks
    cluster: int = 0  # inputs this similar never part: they share one split
    twins: int = 0  # near duplicates, within the cluster

"""Counts what was sent, over HTTP and on topics: metrics for operators, sums for each tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import Counter as Metric

from services.capture.mending import LeftOut
from services.capture.shapes import SentFeedback, SentInference

CAPTURED = Metric(
    "ratchet_captured_total", "Items sent to capture, by kind and outcome", ["kind", "outcome"]
)
LEFT_OUT = Metric(
    "ratchet_captured_left_out_total",
    "Items of which a field was left out or changed",
    ["kind", "field"],
)
FIELDS = {*SentInference.model_fields, *SentFeedback.model_fields}
OUTCOMES = ("accepted", "duplicates", "rejected")


class Tally:
    """What each tenant sent since this process started."""

    def __init__(self) -> None:
        self._of: dict[str, Counter[str]] = {}

    def of(self, tenant: str) -> dict[str, int]:
        counts = self._of.get(tenant, Counter())
        return {outcome: counts[outcome] for outcome in OUTCOMES}

    def add(
        self,
        tenant: str,
        kind: str,
        outcomes: Mapping[str, int],
        left_out: Iterable[Sequence[LeftOut]],
    ) -> None:
        """Count items by outcome, and the fields of which something was left out."""
        self._of.setdefault(tenant, Counter()).update(outcomes)
        for outcome, number in outcomes.items():
            CAPTURED.labels(kind, outcome).inc(number)
        for item in filter(None, left_out):
            for field in {one.field.partition(".")[0] for one in item}:
                LEFT_OUT.labels(kind, field if field in FIELDS else "unknown").inc()

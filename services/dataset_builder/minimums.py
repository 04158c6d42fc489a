"""Whether a dataset is worth a training run, and what is missing when it is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from schemas.route import MINIMUM_ROWS, RouteSpec
from services.dataset_builder.rows import Candidate


@dataclass(frozen=True)
class Lack:
    """What a training set has too few rows of."""

    what: str
    have: int
    need: int

    @property
    def missing(self) -> int:
        return self.need - self.have


class Minimum(NamedTuple):
    """The least rows; 0 where the task asks for none."""

    per_label: int
    in_all: int


def needs(spec: RouteSpec) -> Minimum:
    """Return the task's minimum; the route may override both numbers."""
    by_task = MINIMUM_ROWS[spec.task]
    if spec.task == "classification":
        return Minimum(spec.minimum_per_label or by_task, spec.minimum_rows or 0)
    return Minimum(0, spec.minimum_rows or by_task)


def lacks(training: list[Candidate], spec: RouteSpec) -> list[Lack]:
    """Return what is missing, counted on curated rows before the split.

    Duplicates and contradictions teach nothing, so they do not count.
    """
    minimum = needs(spec)
    counts = Counter(candidate.label for candidate in training)
    found = [
        Lack(f"label '{label}'", counts[label], minimum.per_label)
        for label in spec.labels
        if counts[label] < minimum.per_label
    ]
    if len(training) < minimum.in_all:
        found.append(Lack("the training set", len(training), minimum.in_all))
    return found


def missing_rows(found: list[Lack]) -> int:
    """Return the fewest further verdicts that could fill every gap; before them no build can
    succeed.
    """
    labels = sum(lack.missing for lack in found if lack.what.startswith("label"))
    return max([labels, *(lack.missing for lack in found)])


def explain(found: list[Lack], dropped: Counter[str], spec: RouteSpec) -> str:
    gaps = ", ".join(f"{lack.what} has {lack.have} of {lack.need} rows" for lack in found)
    losses = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count)
    setting = "minimum_per_label" if needs(spec).per_label else "minimum_rows"
    return (
        f"{gaps}: review at least {missing_rows(found)} more answers there, or set {setting} in the"
        " route" + (f" (left out so far: {losses})" if losses else "")
    )

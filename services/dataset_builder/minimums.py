"""Whether a dataset is worth a training run, and what is missing when it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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


def lacks(training: Sequence[Candidate], spec: RouteSpec) -> list[Lack]:
    """Return what is missing, counted in verdicts that are trained on, repeats included: a label
    whose users have eight ways to say it has said all there is, and more reviews of it help.
    """
    minimum = needs(spec)
    counts = verdicts_by_label(training)
    found = [
        Lack(f"label '{label}'", counts[label], minimum.per_label)
        for label in spec.labels
        if counts[label] < minimum.per_label
    ]
    if counts.total() < minimum.in_all:
        found.append(Lack("the training set", counts.total(), minimum.in_all))
    return found


def verdicts_by_label(training: Sequence[Candidate]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for one in training:
        counts[one.label] += one.count
    return counts


def missing_rows(found: list[Lack]) -> int:
    """Return the fewest further verdicts that could fill every gap; before them no build can
    succeed.
    """
    labels = sum(lack.missing for lack in found if lack.what.startswith("label"))
    return max([labels, *(lack.missing for lack in found)])


def explain(found: list[Lack], dropped: Counter[str], spec: RouteSpec) -> str:
    gaps = ", ".join(f"{lack.what} has {lack.have} of {lack.need} verdicts" for lack in found)
    losses = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count)
    setting = "minimum_per_label" if needs(spec).per_label else "minimum_rows"
    return (
        f"{gaps}: review at least {missing_rows(found)} more answers there, or set {setting} in the"
        " route" + (f" (left out so far: {losses})" if losses else "")
    )

"""Whether a dataset is worth a training run (requirements page, R7), and what is missing when it is
not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from schemas.route import MINIMUM_ROWS, RouteSpec
from services.dataset_builder.rows import Item


@dataclass(frozen=True)
class Lack:
    what: str
    have: int
    need: int

    @property
    def missing(self) -> int:
        return self.need - self.have


def needs(spec: RouteSpec) -> tuple[int, int]:
    """The least rows per label, and in all; 0 where the task asks for none. The route may override
    both.
    """
    by_task = MINIMUM_ROWS[spec.task]
    if spec.task == "classification":
        return spec.minimum_per_label or by_task, spec.minimum_rows or 0
    return 0, spec.minimum_rows or by_task


def lacks(training: list[Item], spec: RouteSpec) -> list[Lack]:
    """Counted on curated rows before the split: duplicates and contradictions teach nothing."""
    per_label, in_all = needs(spec)
    counts = Counter(item.label for item in training)
    found = [
        Lack(f"label '{label}'", counts[label], per_label)
        for label in spec.labels
        if counts[label] < per_label
    ]
    if len(training) < in_all:
        found.append(Lack("the training set", len(training), in_all))
    return found


def missing_rows(found: list[Lack]) -> int:
    """The fewest further verdicts that could fill every gap: no earlier attempt can succeed."""
    labels = sum(lack.missing for lack in found if lack.what.startswith("label"))
    return max([labels, *(lack.missing for lack in found)])


def explain(found: list[Lack], dropped: Counter[str], spec: RouteSpec) -> str:
    gaps = ", ".join(f"{lack.what} has {lack.have} of {lack.need} rows" for lack in found)
    losses = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count)
    setting = "minimum_per_label" if needs(spec)[0] else "minimum_rows"
    return (
        f"{gaps}: review at least {missing_rows(found)} more answers there, or set {setting} in the"
        " route" + (f" (left out so far: {losses})" if losses else "")
    )

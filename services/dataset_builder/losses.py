"""How much of the verdicts a filter may take before somebody must look."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.answers import normalise
from schemas.base import JsonObject
from schemas.route import RouteSpec
from services.dataset_builder.balance import BALANCED
from services.dataset_builder.curate import Curated
from services.dataset_builder.prepare import NOT_APPROVED
from services.dataset_builder.rows import Lost

# Share of the rows that repeats leave.
BUDGET = 0.3
# Of fewer rows a share says little, and a minimum refuses the dataset anyway.
LEAST_LOST = 20
# What the route's owner asked for is no loss.
WANTED = {BALANCED, NOT_APPROVED}
SHOWN_CLUSTERS = 3
SHOWN_PAIRS = 5


@dataclass(frozen=True)
class Excess:
    """A filter that took more than its budget."""

    reason: str
    taken: int
    of: int
    # The largest groups of lost rows, for people who look what went wrong.
    clusters: list[JsonObject]


def excess(curated: Curated) -> Excess | None:
    """Return the filter that took the most, if that is more than its budget."""
    distinct: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for one in curated.lost:
        if one.reason not in WANTED:
            distinct[one.reason].add((one.row.messages, one.row.answer))
    if not distinct:
        return None
    of = len(curated.training) + sum(map(len, distinct.values()))
    reason, rows = max(distinct.items(), key=lambda item: len(item[1]))
    if len(rows) < LEAST_LOST or len(rows) <= BUDGET * of:
        return None
    return Excess(reason, len(rows), of, largest(curated.lost, reason))


def count_labels(lost: Sequence[Lost], spec: RouteSpec) -> dict[str, int]:
    """Count the lost verdicts of each label, outside the audit share."""
    labels = {normalise(label, spec): label for label in spec.labels}
    said = Counter(one.row.answer for one in lost if not one.row.audit)
    counts: Counter[str] = Counter()
    for answer, count in said.items():
        if label := labels.get(normalise(answer, spec)):
            counts[label] += count
    return dict(sorted(counts.items()))


def largest(lost: Sequence[Lost], reason: str) -> list[JsonObject]:
    """Return the largest groups that were lost for one reason, each with some of its rows and what
    they gave way to.
    """
    groups: dict[str, list[Lost]] = defaultdict(list)
    for one in lost:
        if one.reason == reason:
            groups[one.row.messages].append(one)
    ranked = sorted(groups.values(), key=lambda group: (-len(group), group[0].row.review_id))
    return [
        {
            "verdicts": len(group),
            "answers": dict(Counter(one.row.answer for one in group).most_common(SHOWN_PAIRS)),
            "pairs": [
                {"review_id": one.row.review_id, "answer": one.row.answer, "twin": one.twin}
                for one in group[:SHOWN_PAIRS]
            ],
        }
        for group in ranked[:SHOWN_CLUSTERS]
    ]

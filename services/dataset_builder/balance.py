"""How many training rows a label may have, where the route's owner limits that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from schemas.route import BalanceRule
from services.dataset_builder.rows import Candidate, Lost
from services.dataset_builder.votes import grouped

BALANCED = "balanced"


def balanced(
    candidates: Sequence[Candidate], rule: BalanceRule
) -> tuple[list[Candidate], list[Lost]]:
    """Leave out rows of the large labels, in an order that no later version changes."""
    most = allowed(Counter(one.label for one in candidates), rule)
    by_label = grouped(candidates, lambda one: one.label)
    out = {
        one.row.review_id
        for label, group in by_label.items()
        for one in sorted(group, key=lambda one: one.question.key)[most[str(label)] :]
    }
    return (
        [one for one in candidates if one.row.review_id not in out],
        [Lost(one.row, BALANCED) for one in candidates if one.row.review_id in out],
    )


def allowed(counts: Counter[str], rule: BalanceRule) -> dict[str, int]:
    """Return how many rows each label may have.

    At temperature t the shares become proportional to share^(1/t), by leaving out rows: the
    smallest label keeps all of its own (Arivazhagan et al. 2019, arXiv 1907.05019, section 4.2).
    """
    least = min(counts.values(), default=0)
    return {
        label: min(
            count,
            rule.cap or count,
            max(1, round(least * (count / least) ** (1 / rule.temperature))),
        )
        for label, count in counts.items()
    }

"""Whether an adapter that is better on the whole has become worse on one label (docs/methods.md,
section 6).

A label that loses is proven to by a mid-p test, with Holm's correction over the labels: an adapter
that loses on none is refused for one in at most 5 % of its evaluations. That no more than MARGIN is
lost takes more rows than most labels have, so it is a finding, and not asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from schemas.evaluation import GroupTest
from services.evaluator.paired import discordant, mcnemar_midp, most_loss

# Of the labels together.
LEVEL = 0.05
MARGIN = 0.10
# Fewer rows than that cannot prove a loss: six lost of six have p = .008.
LEAST_ROWS = 6


def compare_labels(
    labels: Sequence[str], ours: Sequence[bool], theirs: Sequence[bool]
) -> tuple[GroupTest, ...]:
    """Compare two arms on the rows of each label, which is the right answer; "" is none."""
    rows: dict[str, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        if label:
            rows[label].append(place)
    counts = {
        label: discordant([ours[i] for i in places], [theirs[i] for i in places])
        for label, places in sorted(rows.items())
    }
    harmed = proven_losses(
        {
            label: mcnemar_midp(losses, wins)
            for label, (wins, losses) in counts.items()
            if len(rows[label]) >= LEAST_ROWS
        }
    )
    return tuple(
        _found(label, len(rows[label]), wins, losses, is_harmed=label in harmed)
        for label, (wins, losses) in counts.items()
    )


def proven_losses(p_values: dict[str, float]) -> set[str]:
    """Return the labels that lose, by Holm 1979."""
    found = set()
    for rank, label in enumerate(sorted(p_values, key=lambda label: p_values[label])):
        if p_values[label] > LEVEL / (len(p_values) - rank):
            break
        found.add(label)
    return found


def _found(label: str, n: int, wins: int, losses: int, *, is_harmed: bool) -> GroupTest:
    loss = most_loss(wins, losses, n)
    return GroupTest(
        kind="label",
        name=label,
        n=n,
        wins=wins,
        losses=losses,
        most_loss=loss,
        finding="harmed" if is_harmed else "kept" if loss <= MARGIN else "untested",
    )

"""Whether an adapter that is better on the whole has become worse on one label, or on one slice of
the traffic (docs/methods.md, section 6).

A group that loses is proven to by an exact test: with as few rows as a group has, mid-p misses its
level (of 20 groups that differ on eight rows each it found a loss in 8 % where there was none).
Labels and each key of metadata share the level evenly, so that a key with many values makes the
others no blinder; Holm's correction hands on what a proof leaves over. An adapter that loses in no
group is refused for one in at most 5 % of its evaluations. That no more than MARGIN is lost takes
more rows than most groups have, so it is a finding, and not asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.evaluation import GroupTest
from services.evaluator.paired import discordant, mcnemar_exact, most_loss

# Of the groups together.
LEVEL = 0.05
MARGIN = 0.10
# Where the arms differ on fewer rows, no loss is looked for: six lost of six have p = .016. The
# level is for the others. The test takes these rows as given, so it may hang on their number.
LEAST_DIFFERENT = 6
# Of each key of metadata the most frequent values, by rows alone: a key that names users would have
# a value for each, and the level would be spread over them.
MOST_VALUES = 20


@dataclass(frozen=True, order=True)
class Group:
    """What some rows have in common."""

    kind: Literal["label", "slice"]
    # Of the metadata; empty for a label.
    key: str
    value: str

    @property
    def name(self) -> str:
        return f"{self.key}={self.value}" if self.kind == "slice" else self.value


def compare_groups(
    labels: Sequence[str],
    slices: Mapping[str, Sequence[str]],
    ours: Sequence[bool],
    theirs: Sequence[bool],
) -> tuple[GroupTest, ...]:
    """Compare two arms on the rows of each label, which is the right answer, and of each slice:
    `slices` are the rows' values by key; "" is none.
    """
    rows = rows_of(labels, slices)
    counts = {
        group: discordant([ours[i] for i in places], [theirs[i] for i in places])
        for group, places in sorted(rows.items())
    }
    harmed = proven_losses(
        {
            group: mcnemar_exact(losses, wins)
            for group, (wins, losses) in counts.items()
            if wins + losses >= LEAST_DIFFERENT
        }
    )
    return tuple(
        _found(group, len(rows[group]), wins, losses, is_harmed=group in harmed)
        for group, (wins, losses) in counts.items()
    )


def rows_of(
    labels: Sequence[str], slices: Mapping[str, Sequence[str]]
) -> dict[Group, Sequence[int]]:
    """Return the places of the rows of each group that is compared."""
    rows: dict[Group, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        if label:
            rows[Group("label", "", label)].append(place)
    for key, values in slices.items():
        compared = most_frequent(values)
        for place, value in enumerate(values):
            if value in compared:
                rows[Group("slice", key, value)].append(place)
    return dict(rows)


def most_frequent(values: Sequence[str]) -> set[str]:
    """Return the values of a slice that are compared."""
    counts = Counter(value for value in values if value)
    return set(sorted(counts, key=lambda value: (-counts[value], value))[:MOST_VALUES])


def proven_losses(p_values: Mapping[Group, float]) -> set[Group]:
    """Return the groups that lose, by Holm 1979 with weights."""
    beside = Counter((group.kind, group.key) for group in p_values)
    weights = {group: 1 / beside[group.kind, group.key] for group in p_values}
    left = float(len(beside))
    found = set()
    for group in sorted(p_values, key=lambda group: p_values[group] / weights[group]):
        if p_values[group] > LEVEL * weights[group] / left:
            break
        found.add(group)
        left -= weights[group]
    return found


def _found(group: Group, n: int, wins: int, losses: int, *, is_harmed: bool) -> GroupTest:
    loss = most_loss(wins, losses, n)
    return GroupTest(
        kind=group.kind,
        name=group.name,
        n=n,
        wins=wins,
        losses=losses,
        most_loss=loss,
        finding="harmed" if is_harmed else "kept" if loss <= MARGIN else "untested",
    )

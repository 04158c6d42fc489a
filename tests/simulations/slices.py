"""What the gate promises about labels and slices of the traffic: how often an adapter that loses on
none of them is refused for one, and how often one that loses on one is promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.evaluator.gates import Terms, judge_challenger
from services.evaluator.groups import LEAST_DIFFERENT, LEVEL, compare_groups
from services.evaluator.paired import discordant, mcnemar_exact
from services.evaluator.spending import level
from tests.simulations.arms import Bools, Floats, better, difficulty, outcomes
from tests.simulations.promise import Measured, Promise

LABELS = 12
COUNTRIES = 8


@dataclass(frozen=True)
class Groups:
    """The label of each row, and its values by key of metadata."""

    labels: Sequence[str] = ()
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)


Refuses = Callable[[Groups, Bools, Bools], bool]
"""Says by what challenger and champion got right whether a group is said to lose."""


def drawn(n: int, users: int, rng: np.random.Generator) -> Groups:
    """Draw label, country and user of each row, some much more frequent than others."""
    countries = named("c", COUNTRIES, n, rng)
    told = {"country": countries} | ({"user": named("u", users, n, rng)} if users else {})
    return Groups(named("l", LABELS, n, rng), told)


def named(kind: str, kinds: int, n: int, rng: np.random.Generator) -> list[str]:
    weights: Floats = 1 / np.arange(1, kinds + 1)
    return [f"{kind}{one}" for one in rng.choice(kinds, n, p=weights / weights.sum())]


def by_holm(groups: Groups, ours: Bools, theirs: Bools) -> bool:
    found = compare_groups(groups.labels, groups.slices, ours.tolist(), theirs.tolist())
    return any(group.finding == "harmed" for group in found)


def each_by_itself(groups: Groups, ours: Bools, theirs: Bools) -> bool:
    for values in map(np.array, filter(None, (groups.labels, *groups.slices.values()))):
        for value in set(values.tolist()):
            rows = values == value
            wins, losses = discordant(ours[rows].tolist(), theirs[rows].tolist())
            if wins + losses >= LEAST_DIFFERENT and mcnemar_exact(losses, wins) <= LEVEL:
                return True
    return False


# Rows, how many users a slice names, how many answers are right, and whether rows differ in that.
AS_GOOD: dict[str, tuple[int, int, float, bool]] = {
    "500 rows, 85 % right": (500, 0, 0.85, True),
    "500 rows, 85 % right, each of 2,000 users a slice": (500, 2000, 0.85, True),
    "200 rows, 60 % right, none is easier": (200, 0, 0.60, False),
    "500 rows, half are right, none is easier": (500, 300, 0.50, False),
}


def as_good(runs: int, rng: np.random.Generator, refuses: Refuses) -> list[Measured]:
    """Measure adapters that are as good as the champion in every group."""
    found = []
    for name, (n, users, accuracy, differ) in AS_GOOD.items():
        hits = 0
        for _ in range(runs):
            p = difficulty(n, accuracy, rng) if differ else np.full(n, accuracy)
            hits += refuses(drawn(n, users, rng), rng.random(n) < p, rng.random(n) < p)
        found.append(Measured(name, hits, runs))
    hits = sum(refuses(*alike(rng)) for _ in range(runs))
    return [*found, Measured("20 values, the arms differ on eight rows of each", hits, runs)]


def alike(rng: np.random.Generator) -> tuple[Groups, Bools, Bools]:
    """Draw the rows on which the arms differ, as many of each value: bounds are met all at once."""
    ours = rng.random(160) < 0.5
    return Groups(slices={"channel": [f"v{i % 20}" for i in range(160)]}), ours, ~ours


def refused_together(runs: int, rng: np.random.Generator) -> list[Measured]:
    return as_good(runs, rng, by_holm)


def refused_each(runs: int, rng: np.random.Generator) -> list[Measured]:
    return as_good(runs, rng, each_by_itself)


ROWS = 500
# Of the rows, and what the adapter loses there.
SHARE = 0.10
LOSS = 0.30
# On the others.
GAIN = 0.12


def loses_somewhere(runs: int, rng: np.random.Generator, compare: bool) -> list[Measured]:
    """Measure a challenger that is right in 97 % instead of 85, but in 55 on a slice."""
    found = []
    for name, beside in (
        ("one slice of two values", False),
        ("beside 12 labels, 8 countries and 2,000 users", True),
    ):
        hits = 0
        for _ in range(runs):
            here = rng.random(ROWS) < SHARE
            groups = drawn(ROWS, 2000, rng) if beside else Groups()
            channel = {"channel": np.where(here, "phone", "web").tolist()}
            terms = Terms(
                level([]),
                groups.labels if compare else (),
                {**groups.slices, **channel} if compare else {},
            )
            p = difficulty(ROWS, 0.85, rng)
            q = np.where(here, better(p, -LOSS), better(p, GAIN))
            theirs, ours = rng.random(ROWS) < p, rng.random(ROWS) < q
            champion = outcomes("champion", theirs)
            hits += judge_challenger(outcomes("challenger", ours), [champion], terms).promote
        found.append(Measured(name, hits, runs))
    return found


def slices_are_compared(runs: int, rng: np.random.Generator) -> list[Measured]:
    return loses_somewhere(runs, rng, compare=True)


def slices_are_not(runs: int, rng: np.random.Generator) -> list[Measured]:
    return loses_somewhere(runs, rng, compare=False)


PROMISES = (
    Promise(
        name="no-group-lost",
        statement="An adapter that is as good on every label and on every slice that the route"
        " names is refused for one of them in at most 5 % of its evaluations.",
        level=LEVEL,
        side="at most",
        simulate=refused_together,
        control=refused_each,
        instead="each label and slice is tested at 5 %",
        short=100,
    ),
    Promise(
        name="lost-slice",
        statement="An adapter that gains on the whole, and loses 30 points on a tenth of the"
        " traffic, is promoted in at most 25 %, with 500 audited rows and that slice named.",
        level=0.25,
        side="at most",
        simulate=slices_are_compared,
        control=slices_are_not,
        instead="slices are not compared",
        short=50,
    ),
)

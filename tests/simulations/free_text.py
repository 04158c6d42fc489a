"""Adapters for free text: people judge pairs of answers until it is clear which is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from schemas.comparisons import Judgement
from services.evaluator.comparisons import (
    Side,
    Tally,
    decide,
    estimate,
    pairing,
    tally_of,
)
from tests.simulations.promise import Measured, Promise

ALPHA = 0.05
MOST = 400
LOOK_EVERY = 5


@dataclass(frozen=True)
class World:
    """What people say of a pair: how often it is a tie, and how often the challenger wins else.

    `favours_left` is how often somebody says "left" without having read.
    """

    name: str
    wins: float
    ties: float = 0.2
    favours_left: float = 0.0


EQUAL = (
    World("as good", 0.5),
    World("as good, 70 % ties", 0.5, ties=0.7),
    World("as good, a third says left", 0.5, favours_left=0.33),
    World("worse, 45 of 100", 0.45),
)
BETTER_65 = (World("better, 65 of 100", 0.65), World("65 of 100, 50 % ties", 0.65, ties=0.5))
BETTER_60 = (World("better, 60 of 100", 0.60),)


def judgements(
    world: World, number: int, rng: np.random.Generator, run: int
) -> list[tuple[Judgement, Side]]:
    """Return what people say of the first pairs of an evaluation, by the product's own sides."""
    sides = [pairing(f"{run}", f"row-{row}", "champion").challenger for row in range(number)]
    tie, win, unread = rng.random((3, number))
    said: list[tuple[Judgement, Side]] = []
    for row, side in enumerate(sides):
        other: Side = "right" if side == "left" else "left"
        judged: Judgement = side if win[row] < world.wins else other
        if tie[row] < world.ties:
            judged = "tie" if tie[row] < world.ties / 2 else "neither"
        said.append(("left" if unread[row] < world.favours_left else judged, side))
    return said


Rule = Callable[[Tally], bool]


def promotes(tally: Tally) -> bool:
    """Return what the product decides."""
    return decide(tally, ALPHA, MOST + 1) == "promote"


def tests_anew(tally: Tally) -> bool:
    """Test at 5 % at each look, as if it were the only one."""
    decided = tally.wins + tally.losses
    return decided > 0 and (binomtest(tally.wins, decided, alternative="greater").pvalue <= ALPHA)


def equal_strings(tally: Tally) -> bool:
    """Promote by equality with the base model's approved answers, which the base model gives word
    for word and nobody else does.
    """
    return decide(Tally(wins=0, losses=tally.judged), ALPHA, MOST + 1) == "promote"


def ever(rule: Rule, said: list[tuple[Judgement, Side]]) -> bool:
    """Say whether a rule promotes at any of the looks."""
    looks = range(LOOK_EVERY, len(said) + 1, LOOK_EVERY)
    return any(rule(tally_of(said[:look])) for look in looks)


def promoted(
    worlds: tuple[World, ...], runs: int, rng: np.random.Generator, rule: Rule = promotes
) -> list[Measured]:
    return [
        Measured(
            world.name,
            sum(ever(rule, judgements(world, MOST, rng, run)) for run in range(runs)),
            runs,
        )
        for world in worlds
    ]


Floats = npt.NDArray[np.float64]


def by_judge(runs: int, rng: np.random.Generator, corrected: bool) -> list[Measured]:
    """Measure how often an interval misses what people would say of all pairs: of the judge
    corrected by people (or by itself), who favours the challenger though people do not.
    """
    missed = 0
    for _ in range(runs):
        better = rng.choice([-1.0, 0.0, 1.0], 600, p=(0.4, 0.2, 0.4))
        # Right in 70 %, and else for the challenger, which it likes for its length.
        judge = np.where(rng.random(600) < 0.7, better, 1.0)
        if corrected:
            found = estimate(better[:100], judge[:100], judge[100:])
            assert found
            missed += not found.low <= 0.0 <= found.high
        else:
            half = 1.96 * judge.std(ddof=1) / len(judge) ** 0.5
            missed += abs(judge.mean()) > half
    return [Measured("a judge that likes the challenger", missed, runs)]


def stopped_early(runs: int, rng: np.random.Generator, corrected: bool) -> list[Measured]:
    """Measure how often a challenger that wins 60 of 100 is refused because a judge that likes the
    other sees no hope.
    """
    refused = 0
    for _ in range(runs):
        better = rng.choice([-1.0, 0.0, 1.0], 400, p=(0.32, 0.2, 0.48))
        judge = np.where(rng.random(400) < 0.6, better, -1.0)
        found = estimate(better[:60], judge[:60], judge[60:]) if corrected else None
        high = judge.mean() + 1.96 * judge.std(ddof=1) / len(judge) ** 0.5
        hopeless = found is not None and decide(Tally(), ALPHA, MOST, found) == "reject"
        refused += hopeless if corrected else bool(high <= 0)
    return [Measured("a judge that likes the other", refused, runs)]


PROMISES = (
    Promise(
        name="free-text",
        statement=(
            "an adapter for free text that people find no better is promoted in at most 5 of 100"
            " evaluations, however often one looks"
        ),
        level=ALPHA,
        side="at most",
        simulate=lambda runs, rng: promoted(EQUAL, runs, rng),
        control=lambda runs, rng: promoted((EQUAL[0], EQUAL[2]), runs, rng, tests_anew),
        instead="a test at 5 % at each look",
        short=200,
        long=1000,
    ),
    Promise(
        name="free-text-found",
        statement=(
            "an adapter for free text that wins 65 of 100 decided pairs is promoted in 8 of 10"
            " evaluations of 400 pairs"
        ),
        level=0.8,
        side="at least",
        simulate=lambda runs, rng: promoted(BETTER_65, runs, rng),
        control=lambda runs, rng: promoted(BETTER_65, runs, rng, equal_strings),
        instead="answers must equal what a reviewer approved",
        short=60,
        long=1000,
    ),
    Promise(
        name="judge-model",
        statement=(
            "what people would say of all pairs is in the interval that a judge model gives, as"
            " corrected by people on 100 of them, in 94 of 100 evaluations"
        ),
        level=0.06,
        side="at most",
        simulate=lambda runs, rng: by_judge(runs, rng, corrected=True),
        control=lambda runs, rng: by_judge(runs, rng, corrected=False),
        instead="the judge by itself",
        short=200,
        long=2000,
    ),
    Promise(
        name="judge-model-stops",
        statement=(
            "one that wins 60 of 100 is given up for the sake of a judge model in at most 5 of 100"
        ),
        level=0.05,
        side="at most",
        simulate=lambda runs, rng: stopped_early(runs, rng, corrected=True),
        control=lambda runs, rng: stopped_early(runs, rng, corrected=False),
        instead="the judge by itself",
        short=200,
        long=2000,
    ),
)

"""Adapters for free text: people judge pairs of answers until it is clear which is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from schemas.comparisons import Judgement
from services.evaluator.comparisons import (
    LEAST_FOR_ESTIMATE,
    Side,
    Tally,
    decide,
    estimate,
    pairing,
    value_of,
)
from services.evaluator.examination import MOST
from services.evaluator.spending import LIFE, level
from tests.simulations.promise import Measured, Promise

# Of a first attempt.
ALPHA = level([])
LOOK_EVERY = 5
# Adapters that a route tries one after the other.
TRIES = 10


@dataclass(frozen=True)
class World:
    """What people say of a pair: how often it is a tie, and how often the challenger wins else.

    `favours_left` is how often somebody says "left" without having read. Of the challenger's
    answers a share is `broken`, which has lost before anybody is asked.
    """

    name: str
    wins: float
    ties: float = 0.2
    favours_left: float = 0.0
    broken: float = 0.0


EQUAL = (
    World("as good", 0.5),
    World("as good, 70 % ties", 0.5, ties=0.7),
    World("as good, a third says left", 0.5, favours_left=0.33),
    World("as good, a fifth of its answers broken and the others better", 0.6, 0.2, broken=0.2),
    World("worse, 45 of 100", 0.45),
)
BETTER = (
    World("better, 65 of 100", 0.65),
    World("better, 75 of 100, 50 % ties", 0.75, ties=0.5),
)

Said = list[tuple[Judgement, Side]]


def judgements(world: World, number: int, rng: np.random.Generator, name: str) -> Said:
    """Return what people say of the first pairs of an evaluation, by the product's own sides."""
    sides = [pairing(name, f"row-{row}", "champion").challenger for row in range(number)]
    tie, win, unread = rng.random((3, number))
    said: Said = []
    for row, side in enumerate(sides):
        other: Side = "right" if side == "left" else "left"
        judged: Judgement = side if win[row] < world.wins else other
        if tie[row] < world.ties:
            judged = "tie" if tie[row] < world.ties / 2 else "neither"
        said.append(("left" if unread[row] < world.favours_left else judged, side))
    return said


Rule = Callable[[Tally, float], bool]


def promotes(tally: Tally, alpha: float) -> bool:
    """Return what the product decides."""
    return decide(tally, alpha, MOST + 1) == "promote"


def tests_anew(tally: Tally, _: float) -> bool:
    """Test at 5 % at each look, as if it were the only one."""
    decided = tally.wins + tally.losses
    return decided > 0 and (binomtest(tally.wins, decided, alternative="greater").pvalue <= LIFE)


def equal_strings(tally: Tally, alpha: float) -> bool:
    """Promote by equality with the base model's approved answers, which the base model gives word
    for word and nobody else does.
    """
    return decide(Tally(wins=0, losses=tally.judged), alpha, MOST + 1) == "promote"


def ever(rule: Rule, world: World, alpha: float, rng: np.random.Generator, name: str) -> bool:
    """Say whether a rule promotes a challenger at any of the looks of an evaluation."""
    broken = int(rng.binomial(MOST, world.broken))
    said = judgements(world, MOST - broken, rng, name)
    values = np.array([value_of(*one) for one in said])
    wins, losses = (values == 1).cumsum(), (values == -1).cumsum()
    return any(
        rule(tally_at(int(wins[at]), int(losses[at]), at + 1, broken), alpha)
        for at in range(LOOK_EVERY - 1, len(said), LOOK_EVERY)
    )


def tally_at(wins: int, losses: int, judged: int, broken: int) -> Tally:
    return Tally(wins=wins, losses=losses + broken, ties=judged - wins - losses)


def promoted(
    worlds: tuple[World, ...], runs: int, rng: np.random.Generator, rule: Rule = promotes
) -> list[Measured]:
    """Count the first attempts that promote."""
    return [
        Measured(
            world.name,
            sum(ever(rule, world, ALPHA, rng, f"{run}") for run in range(runs)),
            runs,
        )
        for world in worlds
    ]


def in_a_life(
    worlds: tuple[World, ...], runs: int, rng: np.random.Generator, shares: bool = True
) -> list[Measured]:
    """Count the routes that ever promote one of TRIES adapters; `shares` says whether these share
    the 5 %.
    """

    def tries(world: World, run: int) -> bool:
        before: list[bool] = []
        for attempt in range(TRIES):
            alpha = level(before) if shares else LIFE
            before.append(ever(promotes, world, alpha, rng, f"{run}-{attempt}"))
            if before[-1]:
                return True
        return False

    return [
        Measured(world.name, sum(tries(world, run) for run in range(runs)), runs)
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
    other sees no hope, at any of the looks.
    """
    refused = 0
    looks = range(LEAST_FOR_ESTIMATE, MOST, LOOK_EVERY)
    for _ in range(runs):
        better = rng.choice([-1.0, 0.0, 1.0], MOST, p=(0.32, 0.2, 0.48))
        judge = np.where(rng.random(MOST) < 0.6, better, -1.0)
        if corrected:
            refused += any(
                decide(Tally(), ALPHA, MOST, estimate(better[:look], judge[:look], judge[look:]))
                == "reject"
                for look in looks
            )
        else:
            high = judge.mean() + 1.96 * judge.std(ddof=1) / len(judge) ** 0.5
            refused += bool(high <= 0)
    return [Measured("a judge that likes the other", refused, runs)]


PROMISES = (
    Promise(
        name="free-text",
        statement=(
            "at most 5 of 100 routes of free text ever promote an adapter that people find no"
            " better, in ten attempts, however often one looks"
        ),
        level=LIFE,
        side="at most",
        simulate=lambda runs, rng: in_a_life(EQUAL, runs, rng),
        control=lambda runs, rng: in_a_life(EQUAL[:1], runs, rng, shares=False),
        instead="5 % for each attempt",
        short=40,
        long=1000,
    ),
    Promise(
        name="free-text-looks",
        statement=(
            "a first attempt of an adapter for free text that people find no better is promoted in"
            " at most 3 of 100 evaluations, however often one looks"
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
            " first attempts of 200 pairs"
        ),
        level=0.8,
        side="at least",
        simulate=lambda runs, rng: promoted(BETTER, runs, rng),
        control=lambda runs, rng: promoted(BETTER, runs, rng, equal_strings),
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
            "one that wins 60 of 100 is given up for the sake of a judge model in at most 5 of 100,"
            " however often one looks"
        ),
        level=0.05,
        side="at most",
        simulate=lambda runs, rng: stopped_early(runs, rng, corrected=True),
        control=lambda runs, rng: stopped_early(runs, rng, corrected=False),
        instead="the judge by itself",
        short=60,
        long=2000,
    ),
)

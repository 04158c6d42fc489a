"""Live accuracy: its interval holds the truth, whatever P(correct) is worth, whoever complains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from statsmodels.stats.proportion import proportion_confint

from services.evaluator.accuracy import Answered, Judged, estimate, tallied
from tests.simulations.promise import Measured, Promise

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# P(correct) under which no model is sure enough.
UNSURE = 0.6


@dataclass(frozen=True)
class World:
    """Answers whose P(correct) spreads around `accuracy`, the more the smaller `sharpness` is."""

    name: str
    answers: int
    accuracy: float
    sharpness: float
    # Shares reviewed of those that are surely right, and of the others.
    rate: float
    unsure_rate: float
    # P(correct) is drawn anew, and says nothing.
    garbage: bool = False
    # Share of the wrong answers that users complain of, after the coin fell.
    complaints: float = 0.0


WORLDS = (
    World("a sharp P(correct), 290 verdicts", 5000, 0.93, 1, 0.04, 0.3),
    World("complaints after the coin", 2000, 0.8, 1, 0.1, 1.0, complaints=0.3),
    World("complaints, and P(correct) is garbage", 2000, 0.8, 1, 0.1, 1.0, True, 0.3),
    World("3 % wrong, 55 verdicts", 1000, 0.97, 2, 0.05, 0.3),
    World("3 % wrong, and P(correct) is garbage", 1000, 0.97, 2, 0.05, 0.3, True),
    World("audited answers alone, 40 verdicts", 1000, 0.7, 3, 0.04, 0.04, True),
)
# Where reviews follow doubt or complaints, and many of them tell.
SKEWED = WORLDS[:3]


@dataclass(frozen=True)
class Seen:
    answered: Answered
    verdicts: list[Judged]


def lived(world: World, rng: np.random.Generator) -> Seen:
    """Let a world answer, and have its answers reviewed as review does."""
    n = world.answers
    p = rng.beta(world.accuracy * world.sharpness, (1 - world.accuracy) * world.sharpness, n)
    right = rng.random(n) < p
    said = rng.random(n) if world.garbage else p
    coin = rng.random(n)
    probability = inclusion(world, p < UNSURE, ~right & (rng.random(n) < world.complaints))
    answered = sum(map(tallied, said.tolist()), Answered())
    verdicts = [
        Judged(bool(right[each]), float(said[each]), float(probability[each]))
        for each in np.flatnonzero(coin < probability)
    ]
    return Seen(answered, verdicts)


def inclusion(world: World, unsure: Bools, complaint: Bools) -> Floats:
    """Return the probabilities that `sample` gives: tests/simulations/test_twins.py proves it."""
    probability: Floats = np.where(unsure, world.unsure_rate, world.rate)
    probability[complaint] = 1.0
    return probability


def weighted(seen: Seen) -> tuple[float, float]:
    """Return the product's interval."""
    found = estimate(seen.answered, seen.verdicts)
    return (found.low, found.high) if found else (0.0, 1.0)


def unweighted(seen: Seen) -> tuple[float, float]:
    """Return Wilson's interval of the share of right answers among those reviewed."""
    right = sum(verdict.right for verdict in seen.verdicts)
    low, high = proportion_confint(right, len(seen.verdicts), method="wilson")
    return float(low), float(high)


def covered(
    worlds: tuple[World, ...], interval: Callable[[Seen], tuple[float, float]]
) -> Callable[[int, np.random.Generator], list[Measured]]:
    def simulate(runs: int, rng: np.random.Generator) -> list[Measured]:
        measured = []
        for world in worlds:
            hits = 0
            for _ in range(runs):
                low, high = interval(lived(world, rng))
                hits += low <= world.accuracy <= high
            measured.append(Measured(world.name, hits, runs))
        return measured

    return simulate


PROMISES = (
    Promise(
        name="live-accuracy",
        statement="The interval of the live accuracy holds the true accuracy in at least 93 % of"
        " the cases.",
        level=0.93,
        side="at least",
        simulate=covered(WORLDS, weighted),
        control=covered(SKEWED, unweighted),
        instead="the mean of what was reviewed, without weights",
        short=40,
    ),
)

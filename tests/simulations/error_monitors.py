"""Error monitors: they keep still while nothing gets worse, also where errors come in spells, and
find soon what does.

Streams run side by side, through the functions that the detectors themselves step with
(`tests/simulations/test_twins.py` proves that one label at a time gives the same alarms).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from services.evaluator.accuracy import Judged, rise
from services.evaluator.monitor import BLOCK, FIRST_BLOCKS, STAKES, learned_bar, step
from services.evaluator.rises import FIRST_LOOK, LAST_LOOK, LOOK_LEVEL
from tests.simulations.promise import Measured, Promise

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.integer]

RUN_LENGTH = 2_000.0
FIRST_LABELS = FIRST_BLOCKS * BLOCK
# A quarter of the run length: at most a quarter of the streams may have an alarm by then.
QUARTER = 500
SPELL = 10
NEVER = np.iinfo(np.int64).max


def labels(n: int, streams: int, rate: float, rng: np.random.Generator, spell: int = 1) -> Bools:
    """Draw whether each label says wrong: (labels, streams). Errors come in spells of so many."""
    if spell == 1:
        return rng.random((n, streams)) < rate
    start = 1 / (1 + spell * (1 - rate) / rate)
    drawn = rng.random((n, streams)) < start
    left = np.where(rng.random(streams) < rate, rng.integers(1, spell + 1, streams), 0)
    wrong = np.empty((n, streams), dtype=bool)
    for number in range(n):
        left = np.where((left == 0) & drawn[number], spell, left)
        wrong[number] = left > 0
        left = np.maximum(left - 1, 0)
    return wrong


def in_blocks(wrong: Bools) -> Integers:
    """Return the errors of each block of labels."""
    whole = len(wrong) - len(wrong) % BLOCK
    counted: Integers = wrong[:whole].reshape(-1, BLOCK, wrong.shape[1]).sum(axis=1)
    return counted


def alarmed(wrong: Bools, bar: npt.NDArray[np.float64]) -> Integers:
    """Return after how many labels each stream raises an alarm against its bar, or NEVER."""
    evidence = np.zeros((wrong.shape[1], len(STAKES)))
    after = np.full(wrong.shape[1], NEVER)
    for number, errors in enumerate(in_blocks(wrong), start=1):
        evidence = step(evidence, errors[:, None], bar[:, None])
        over = evidence.mean(axis=1) >= RUN_LENGTH
        after = np.minimum(after, np.where(over, number * BLOCK, NEVER))
    return after


def over_the_bar(wrong: Bools, tolerated: float) -> Integers:
    """Hold all labels against what is tolerated."""
    return alarmed(wrong, np.full(wrong.shape[1], tolerated))


def over_the_first(wrong: Bools, _: float) -> Integers:
    """Hold the labels after the first 200 against what these say."""
    bar = learned_bar(in_blocks(wrong[:FIRST_LABELS]))
    return alarmed(wrong[FIRST_LABELS:], bar)


def by_single_labels(wrong: Bools, tolerated: float) -> Integers:
    """Bet on each label by its likelihood, as Shiryaev-Roberts detectors of single labels do."""
    rates = np.minimum(np.array([1.5, 2, 3, 5]) * tolerated, 0.5)
    evidence = np.zeros((wrong.shape[1], 4))
    after = np.full(wrong.shape[1], NEVER)
    for number, label in enumerate(wrong, start=1):
        ratio = np.where(label[:, None], rates / tolerated, (1 - rates) / (1 - tolerated))
        evidence = np.minimum((1 + evidence) * ratio, 1e12)
        over = evidence.mean(axis=1) >= RUN_LENGTH
        after = np.minimum(after, np.where(over, number, NEVER))
    return after


def by_windows(wrong: Bools, tolerated: float) -> Integers:
    """Test each window of 100 labels at 5 %, without a correction for looking often."""
    limit = tolerated + 1.645 * np.sqrt(tolerated * (1 - tolerated) / 100)
    sums = np.cumsum(np.vstack([np.zeros((1, wrong.shape[1])), wrong]), axis=0)
    over = (sums[100:] - sums[:-100]) / 100 > limit
    return np.where(over.any(axis=0), 100 + over.argmax(axis=0), NEVER)


def over_the_first_mean(wrong: Bools, _: float) -> Integers:
    """Take the share of errors among the first 200 labels for the truth."""
    first = np.maximum(wrong[:FIRST_LABELS].mean(axis=0), 1 / FIRST_LABELS)
    return alarmed(wrong[FIRST_LABELS:], first)


Rule = Callable[[Bools, float], Integers]
"""Returns after how many labels each stream raises an alarm, or NEVER; `alarmed` and those that
learn count from the label on from which they watch.
"""


def still(
    rule: Rule, worlds: Sequence[tuple[float, int]], first: int
) -> Callable[[int, np.random.Generator], list[Measured]]:
    """Run streams at exactly the rate that no alarm is due for; `worlds` are rates and spells."""

    def simulate(runs: int, rng: np.random.Generator) -> list[Measured]:
        measured = []
        for rate, spell in worlds:
            wrong = labels(first + QUARTER, runs, rate, rng, spell)
            name = f"{rate:.0%} wrong" + (f" in spells of {spell}" if spell > 1 else "")
            measured.append(Measured(name, int((rule(wrong, rate) < NEVER).sum()), runs))
        return measured

    return simulate


def found(
    rule: Rule, worlds: Sequence[tuple[float, float, int]]
) -> Callable[[int, np.random.Generator], list[Measured]]:
    """Let the rate rise after 200 labels; `worlds` are the rates, and labels until then."""

    def simulate(runs: int, rng: np.random.Generator) -> list[Measured]:
        measured = []
        for before, after, within in worlds:
            early = labels(FIRST_LABELS, runs, before, rng)
            wrong = np.vstack([early, labels(within, runs, after, rng)])
            name = f"from {before:.0%} to {after:.0%} wrong within {within} labels"
            measured.append(Measured(name, int((rule(wrong, 0.2) < NEVER).sum()), runs))
        return measured

    return simulate


def batch(
    looks: Sequence[int], level: float, before: int, rate: float, after: float
) -> Callable[[int, np.random.Generator], list[Measured]]:
    """Look at the labels that an input alarm brought, `before` verdicts having come earlier."""

    def simulate(runs: int, rng: np.random.Generator) -> list[Measured]:
        hits = 0
        for _ in range(runs):
            earlier = judged(rng.random(before) < rate, rng.choice([0.1, 1.0], before))
            now = judged(rng.random(LAST_LOOK) < after, np.ones(LAST_LOOK))
            hits += any(rise(earlier, now[:look], level)[1] for look in looks)
        world = f"{rate:.0%} wrong of {before} verdicts before the alarm, {after:.0%} after it"
        return [Measured(world, hits, runs)]

    return simulate


def judged(wrong: Bools, probability: npt.NDArray[np.float64]) -> list[Judged]:
    return [
        Judged(not bad, 0.5, float(each))
        for bad, each in zip(wrong.tolist(), probability, strict=True)
    ]


def worlds(
    *simulations: Callable[[int, np.random.Generator], list[Measured]],
) -> Callable[[int, np.random.Generator], list[Measured]]:
    def simulate(runs: int, rng: np.random.Generator) -> list[Measured]:
        return [measured for one in simulations for measured in one(runs, rng)]

    return simulate


DOUBLING: tuple[int, ...] = tuple(
    FIRST_LOOK * 2**power for power in range((LAST_LOOK // FIRST_LOOK).bit_length())
)
EACH = tuple(range(FIRST_LOOK, LAST_LOOK + 1))

PROMISES = (
    Promise(
        name="error-alarms-tolerated",
        statement="While as many answers are wrong as the route tolerates, an error alarm comes"
        " within 500 labels in at most 25 % of the streams (2,000 labels on average).",
        level=QUARTER / RUN_LENGTH,
        side="at most",
        simulate=still(over_the_bar, ((0.2, 1), (0.08, 1), (0.2, SPELL), (0.08, SPELL)), 0),
        control=worlds(
            still(by_single_labels, ((0.2, SPELL), (0.08, SPELL)), 0),
            still(by_windows, ((0.2, 1), (0.08, 1)), 0),
        ),
        instead="bets on single labels, where errors come in spells; a z-test of each window",
    ),
    Promise(
        name="error-alarms-worse-than-it-was",
        statement="While answers are as often wrong as at first, an alarm that they got worse comes"
        " within 500 labels in at most 25 % of the streams.",
        level=QUARTER / RUN_LENGTH,
        side="at most",
        simulate=still(
            over_the_first, ((0.2, 1), (0.05, 1), (0.2, SPELL), (0.05, SPELL)), FIRST_LABELS
        ),
        control=still(over_the_first_mean, ((0.05, SPELL),), FIRST_LABELS),
        instead="the share of errors at first, taken for the truth",
    ),
    Promise(
        name="error-alarms-found",
        statement="Where the rate of errors doubles, the alarm comes within 700 labels in at least"
        " 85 % of the streams, also under the rate that is tolerated.",
        level=0.85,
        side="at least",
        simulate=found(over_the_first, ((0.1, 0.2, 700), (0.2, 0.4, 700))),
        control=found(over_the_bar, ((0.1, 0.2, 700),)),
        instead="the tolerated rate of 20 % alone",
    ),
    Promise(
        name="input-alarms-borne-out",
        statement="Of the input alarms under which nothing got worse, labels bear out at most 5 %.",
        level=0.05,
        side="at most",
        simulate=worlds(
            batch(DOUBLING, LOOK_LEVEL, 20, 0.2, 0.2),
            batch(DOUBLING, LOOK_LEVEL, 200, 0.2, 0.2),
            batch(DOUBLING, LOOK_LEVEL, 200, 0.05, 0.05),
        ),
        control=batch(EACH, 0.05, 200, 0.05, 0.05),
        instead="a test at 5 % after each label",
        short=500,
    ),
    Promise(
        name="input-alarms-borne-out-in-time",
        statement="Where new kinds of requests double the errors, labels bear the input alarm out"
        " before 160 of them in at least 80 %.",
        level=0.8,
        side="at least",
        simulate=worlds(
            batch(DOUBLING, LOOK_LEVEL, 100, 0.25, 0.55),
            batch(DOUBLING, LOOK_LEVEL, 200, 0.2, 0.4),
        ),
        control=batch(DOUBLING, LOOK_LEVEL, 5, 0.2, 0.4),
        instead="five verdicts before the alarm",
        short=100,
    ),
)

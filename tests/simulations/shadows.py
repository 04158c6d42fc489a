"""What is promised where an adapter on trial and what it replaces answer the same questions
(docs/methods.md, section 6).

Every verdict is the router's own: `Against.proof` over `Comparison`. So that thousands of looks are
quick, evidence is looked up by wins and losses; it is `Comparison.evidence` that is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from services.router.evidence import ROLLBACK_EVIDENCE, Against, Comparison
from tests.simulations.promise import Measured, Promise

Generator = np.random.Generator
Bools = npt.NDArray[np.bool_]
# Of what was replaced, and how many verdicts there are of each side.
WRONG, VERDICTS = 0.15, 1000


@cache
def compared(wins: int, losses: int) -> Comparison:
    return Comparison(wins=wins, losses=losses, pairs=wins + losses)


def by_rule(ordered: Comparison, shadowed: Comparison) -> bool:
    return Against(ordered, shadowed).proof(ROLLBACK_EVIDENCE) is not None


def in_one_sum(ordered: Comparison, shadowed: Comparison) -> bool:
    """The rule that is not used: all pairs in one process, though a verdict is in two of them."""
    both = compared(ordered.wins + shadowed.wins, ordered.losses + shadowed.losses)
    return Against(both).proof(ROLLBACK_EVIDENCE) is not None


def ordered_alone(ordered: Comparison, _: Comparison) -> bool:
    return Against(ordered).proof(ROLLBACK_EVIDENCE) is not None


def wrong_beside(given: Bools, rate: float, alike: float, rng: Generator) -> Bools:
    """Draw where the other adapter is wrong on the same questions: a share `alike` of what is wrong
    is wrong for both alike, and `rate` in all.
    """
    shared = alike + (1 - alike) * rate
    rest = (rate - WRONG * shared) / (1 - WRONG)
    return rng.random(len(given)) < np.where(given, shared, rest)


def is_rolled_back(
    rule: Callable[[Comparison, Comparison], bool], rate: float, alike: float, rng: Generator
) -> bool:
    """Look after each verdict at pairs by order and at pairs on the same questions."""
    old, new = rng.random(VERDICTS) < WRONG, rng.random(VERDICTS) < rate
    beside = wrong_beside(old, rate, alike, rng)
    sums = [np.cumsum(~new & old), np.cumsum(new & ~old)]
    sums += [np.cumsum(~beside & old), np.cumsum(beside & ~old)]
    # Between two unequal pairs nothing changes.
    moves = np.flatnonzero(np.diff(np.stack(sums).sum(axis=0), prepend=0))
    return any(
        rule(compared(int(sums[0][k]), int(sums[1][k])), compared(int(sums[2][k]), int(sums[3][k])))
        for k in moves
    )


def rolled_back(
    rule: Callable[[Comparison, Comparison], bool],
    worse: float,
    likenesses: tuple[float, ...],
    runs: int,
    rng: Generator,
) -> list[Measured]:
    found = []
    for alike in likenesses:
        hits = sum(is_rolled_back(rule, WRONG + worse, alike, rng) for _ in range(runs))
        words = f"{worse:.0%} more wrong" if worse else "as good"
        world = f"{words} than {WRONG:.0%}, {alike:.0%} of the errors alike, {VERDICTS} verdicts"
        found.append(Measured(world, hits, runs))
    return found


PROMISES = (
    Promise(
        name="shadows-as-good",
        statement="At most 1 of 40 adapters that are as good as what they replace is ever rolled"
        " back by verdicts where both answer the same questions, looked at after each of them.",
        level=0.025,
        side="at most",
        simulate=partial(rolled_back, by_rule, 0.0, (0.0, 0.4, 0.8)),
        control=partial(rolled_back, in_one_sum, 0.0, (0.0,)),
        instead="pairs in order and pairs on the same questions in one sum",
        short=300,
        long=2000,
    ),
    Promise(
        name="shadows-worse",
        statement="Where both answer the same questions and most errors are alike, an adapter that"
        " is wrong in 5 points more is rolled back within 1,000 verdicts in at least 80 %.",
        level=0.8,
        side="at least",
        simulate=partial(rolled_back, by_rule, 0.05, (0.6, 0.8)),
        control=partial(rolled_back, ordered_alone, 0.05, (0.6, 0.8)),
        instead="pairs in order alone",
        short=100,
        long=1000,
    ),
)

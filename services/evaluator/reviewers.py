"""How many wrong answers reviewers let pass, from audited answers that two people decided without
knowing of each other (docs/methods.md, section 8).

Let each of them approve a wrong answer with probability f, independently. Of a wrong answer, one
of two approves in 2f(1 - f) of the cases and none in (1 - f)^2, so of the answers that at least
one did not approve the share q = 2f / (1 + f) is split: f = q / (2 - q), which rises with q.

A right answer that one of two calls wrong is a split, too, so that f comes out too high: the bound
errs on the safe side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from scipy.stats import binomtest

from schemas.events import Verdict

# The bound of the share that reviewers let pass is wrong in at most one of ten routes.
DELTA = 0.10
# With fewer doubted pairs the bound is over .2 even where the two never differ, and would certify
# nothing on most routes.
LEAST_DOUBTED = 6


@dataclass(frozen=True)
class Pair:
    """What two people said of one answer; `same` says whether they gave the same right answer."""

    first: Verdict
    second: Verdict
    same: bool


@dataclass(frozen=True)
class Missed:
    """The share of wrong answers that a reviewer approves, and what else two looks tell."""

    # None: nobody has doubted an answer that two people looked at.
    estimate: float | None
    # With probability 1 - DELTA the share is at most this; 1 where there is nothing to tell.
    upper: float
    pairs: int
    # Pairs of which at least one did not approve, and those of which exactly one did.
    doubted: int
    split: int
    # Of corrections, the share that is wrong; None where no two people corrected one answer.
    miscorrected: float | None

    @property
    def bound(self) -> float | None:
        """Return what a certificate must allow for; None before enough is known to say anything.

        Until then a certificate speaks of what reviewers find, and says that it does.
        """
        return self.upper if self.doubted >= LEAST_DOUBTED else None


def missed(pairs: Sequence[Pair], delta: float = DELTA) -> Missed:
    """Estimate and bound the share of wrong answers that reviewers let pass."""
    kinds = Counter((pair.first == "approved") + (pair.second == "approved") for pair in pairs)
    split = kinds[1]
    doubted = split + kinds[0]
    corrected = [pair.same for pair in pairs if pair.first == pair.second == "corrected"]
    return Missed(
        estimate=passing(split / doubted) if doubted else None,
        upper=passing(most_split(split, doubted, delta)),
        pairs=len(pairs),
        doubted=doubted,
        split=split,
        miscorrected=wrong_of_two(1 - sum(corrected) / len(corrected)) if corrected else None,
    )


def most_split(split: int, doubted: int, delta: float) -> float:
    """Return the share of splits that is ruled out at 1 - delta (Clopper, Pearson 1934)."""
    if not doubted:
        return 1.0
    test = binomtest(split, doubted, alternative="less")
    return float(test.proportion_ci(confidence_level=1 - delta, method="exact").high)


def passing(split: float) -> float:
    """Return the share that one reviewer approves, from the share of doubted answers that split."""
    return split / (2 - split)


def wrong_of_two(differ: float) -> float:
    """Return how often one correction is wrong, where two of one answer differ that often.

    Two are alike when both are right: two wrong ones that agree would go unseen.
    """
    return 1.0 - sqrt(1.0 - differ)

"""What speaks against an adapter that serves: e-values, which may be looked at as often as one
likes (docs/methods.md, section 6). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from shared.rules import evidence_of_winning, mean_ratio

# Share of failed or malformed answers that is nobody's fault.
TOLERATED = 0.05
# Failure rates that the guard is meant to find.
SUSPECTS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
# An e-value of 20 is reached by at most 1 of 20 good adapters, however often one looks (Ville's
# inequality).
EVIDENCE = 20.0
# After a promotion failures and verdicts have 1 of 40 each, so that together they roll back at most
# 1 of 20 good champions.
ROLLBACK_EVIDENCE = 40.0
# One look multiplies the evidence of failures by at most ten.
MOST_STEP = math.log(10)
MOST_SUM = 1e100


def failure_logs(answered: int, failed: int) -> list[float]:
    """Return the log likelihood ratio of each of SUSPECTS against TOLERATED."""
    return [
        failed * math.log(rate / TOLERATED)
        + (answered - failed) * math.log((1 - rate) / (1 - TOLERATED))
        for rate in SUSPECTS
    ]


def failure_evidence(answered: int, failed: int) -> float:
    """Return the e-value against "it fails in at most TOLERATED of its answers".

    It is the mean of the likelihood ratios of SUSPECTS, and may be looked at after every answer.
    """
    return mean_ratio(failure_logs(answered, failed))


class FailureWatch(NamedTuple):
    """The evidence that an adapter began to fail at some time.

    It is a mixture of tests that begin at the 1st, 2nd, ... look, of weight 1/(n (n + 1)): together
    they err in at most 1 of 20 adapters for ever, and months of good answers do not outweigh an
    hour of bad ones. What one look adds is bounded, since failures come in spells.
    """

    looks: int = 0
    # Of each of SUSPECTS, the sum of its tests.
    sums: tuple[float, ...] = (0.0,) * len(SUSPECTS)

    def seen(self, answered: int, failed: int) -> FailureWatch:
        """Return the evidence after a look at what came since the last one."""
        looks = self.looks + 1
        begun = 1 / (looks * (looks + 1))
        ratios = [math.exp(min(log, MOST_STEP)) for log in failure_logs(answered, failed)]
        sums = ((old + begun) * ratio for old, ratio in zip(self.sums, ratios, strict=True))
        return FailureWatch(looks, tuple(min(value, MOST_SUM) for value in sums))

    @property
    def evidence(self) -> float:
        return sum(self.sums) / len(self.sums)


class Audited(NamedTuple):
    """What a reviewer of the uniform sample said of an answer; times since the epoch."""

    asked_at: float
    said_at: float
    right: bool


class Comparison(NamedTuple):
    """An adapter against what it is to replace, by pairs of verdicts of which one is "right"."""

    wins: int = 0
    losses: int = 0
    # All pairs, and verdicts on the adapter that have none yet.
    pairs: int = 0
    single: int = 0

    @property
    def evidence(self) -> float:
        """Return the e-value against "it loses at most half of the unequal pairs", which is so for
        an adapter that is right as often as the other.
        """
        return evidence_of_winning(self.losses, self.wins)


class Against(NamedTuple):
    """What audited verdicts say: by pairs in their order, and of questions that both answered
    (None where the route asks nobody beside).
    """

    ordered: Comparison = Comparison()
    shadowed: Comparison | None = None

    def proof(self, level: float) -> Comparison | None:
        """Return what proves that the new adapter is worse, at an evidence of `level`.

        A verdict may be in both, so each has half of the error: in one sum they would retract 12 %
        of the adapters that are as good instead of at most 5
        (docs/decisions/0048-answers-asked-beside.md).
        """
        if self.shadowed is None:
            return self.ordered if self.ordered.evidence >= level else None
        both = (self.shadowed, self.ordered)
        return next((one for one in both if one.evidence >= 2 * level), None)

    @property
    def facts(self) -> dict[str, float]:
        """Return it for the event of a move."""
        found: dict[str, float] = {
            "against_correctness": self.ordered.evidence,
            "pairs": self.ordered.pairs,
            "wins": self.ordered.wins,
            "losses": self.ordered.losses,
        }
        if self.shadowed:
            found |= {
                "against_correctness_beside": self.shadowed.evidence,
                "pairs_beside": self.shadowed.pairs,
                "wins_beside": self.shadowed.wins,
                "losses_beside": self.shadowed.losses,
            }
        return found


def compare(
    of_new: Sequence[Audited],
    of_old: Sequence[Audited],
    began: float,
    promoted: float | None = None,
) -> Comparison:
    """Compare what apps got where they were given to the new adapter and where to the old one.

    The k-th verdict on the new one meets the k-th on the old: which is which was drawn by session,
    and no verdict has a say in whom it meets. Those on questions since the canary began come first.
    Once the new one is promoted the old one gets no more, and the newest verdicts from before the
    canary take their place.
    """
    end = math.inf if promoted is None else promoted
    beside = [one for one in of_old if one.asked_at >= began and one.said_at <= end]
    beside.sort(key=lambda one: one.said_at)
    if promoted is not None:
        before = [one for one in of_old if one.asked_at < began and one.said_at <= end]
        beside += sorted(before, key=lambda one: -one.asked_at)
        late = [one for one in of_old if one.said_at > end]
        beside += sorted(late, key=lambda one: one.said_at)
    ours = sorted(of_new, key=lambda one: one.said_at)
    pairs = [(new.right, old.right) for new, old in zip(ours, beside, strict=False)]
    return Comparison(
        wins=pairs.count((True, False)),
        losses=pairs.count((False, True)),
        pairs=len(pairs),
        single=len(ours) - len(pairs),
    )

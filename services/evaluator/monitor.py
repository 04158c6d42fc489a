"""Has the error rate risen? Shiryaev-Roberts e-detectors on audited answers (docs/methods.md,
section 5).

One holds the champion's own answers against the error rate that the route tolerates, one holds all
that the route answers against its own rate at first. Both bet on blocks of labels, by stakes that
are linear in the errors of a block: whatever depends on what within a block, a bet gains nothing
on average while the error is at most the bar. So errors that come in spells keep the run length,
which bets on single labels do not: 45 labels to a false alarm instead of 2,000, at 20 % in spells
of ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom, t

from schemas.events import RouteChanged
from schemas.monitoring import Statistic

Floats = npt.NDArray[np.float64]

# Labels on which one bet is placed; more than a spell of errors has.
BLOCK = 25
# Shares of the evidence that are staked, for small and for large rises.
STAKES = np.array([0.1, 0.2, 0.4, 0.8])
# Bounds the evidence, so that the stored number stays finite.
MOST_EVIDENCE = 1e12
# Blocks from which the error rate at first is learned: 200 labels.
FIRST_BLOCKS = 8
# With this chance the bar that is learned lies above the rate at first.
SURE = 0.9


@dataclass(frozen=True)
class ErrorDetector:
    """`evidence` holds one Shiryaev-Roberts statistic for each stake; the alarm is on their
    mean.
    """

    # The error rate that no alarm is due for; None while it is still being learned.
    bar: float | None
    # Labels on average to a false alarm.
    run_length: float
    evidence: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    # Labels and errors of the block that is being filled.
    block: tuple[int, int] = (0, 0)
    # Errors in each of the blocks that the bar is learned from.
    learned: tuple[int, ...] = ()
    # Stays, whatever comes after the alarm, until it is armed again.
    fired: bool = False
    # Labels counted, the errors among them, and how many labels came before it was armed.
    labels: int = 0
    errors: int = 0
    armed: int = 0

    @property
    def statistic(self) -> float:
        return float(np.mean(self.evidence))

    def update(self, wrong: bool) -> ErrorDetector:
        """Return the detector after one more audited label.

        Count each label once, or the guarantee is void.
        """
        labels, errors = self.block[0] + 1, self.block[1] + wrong
        counted = replace(
            self, labels=self.labels + 1, errors=self.errors + wrong, block=(labels, errors)
        )
        if labels < BLOCK:
            return counted
        counted = replace(counted, block=(0, 0))
        if self.bar is None:
            learned = (*self.learned, errors)
            bar = float(learned_bar(np.array(learned))) if len(learned) == FIRST_BLOCKS else None
            return replace(counted, learned=learned, bar=bar)
        if self.fired:
            return counted
        evidence = step(np.array(self.evidence), errors, self.bar)
        fired = bool(evidence.mean() >= self.run_length)
        return replace(counted, evidence=tuple(evidence.tolist()), fired=fired)

    def rearmed(self) -> ErrorDetector:
        """Return the detector as it goes on after an alarm: with no evidence, and the same bar."""
        return replace(
            self, evidence=ErrorDetector.evidence, block=(0, 0), fired=False, armed=self.labels
        )

    def heard_again(self, wrong: Sequence[bool], armed: int) -> ErrorDetector:
        """Return the detector after other labels than those it counted, in their order.

        An alarm that was raised stays raised: the labels before it was last armed are not bet on
        again.
        """
        learns = self.bar is None or bool(self.learned)
        again = ErrorDetector(None if learns else self.bar, self.run_length)
        for number, label in enumerate(wrong):
            again = (again.rearmed() if number == armed > 0 else again).update(label)
        return again.rearmed() if len(wrong) == armed > 0 else again


@dataclass(frozen=True)
class Pending:
    """An input alarm that no label has borne out yet; `review` was asked for a batch of labels."""

    drift_id: str
    # When it was raised, and when the window began that raised it; seconds since the epoch.
    at: float
    started: float
    # Labels of the batch at the next look.
    look: int


@dataclass(frozen=True)
class Monitor:
    """The state of one route's monitors, for one champion or for the base model alone.

    An episode ends when the champion or the meaning of the route changes.
    """

    route: str
    tenant: str
    # None where no adapter serves.
    adapter_id: str | None
    episode: str
    # When this champion began to serve; seconds since the epoch.
    began: float
    # Observations up to this number belong to an earlier episode.
    since: int
    # The next window begins after this observation; 0 until the reference is complete.
    cursor: int
    # Observations in the reference, and in a window.
    reference: int
    window: int
    # Windows compared so far, and windows since then whose hours the reference does not know yet.
    windows: int
    unmatched: int
    # Whether each of the last windows fired, oldest first.
    recent: tuple[bool, ...]
    # Of the last window.
    statistics: tuple[Statistic, ...]
    # The last alarms.
    input_drift_id: str | None
    error_drift_id: str | None
    pending: Pending | None
    # Holds the champion's own answers against what is tolerated.
    tolerance: ErrorDetector
    # Holds all answers against the rate at first.
    rise: ErrorDetector

    @property
    def state(self) -> str:
        if not self.cursor:
            return "learning what is normal"
        return "waiting for a matched reference" if self.unmatched else "watching"


def fresh_monitor(
    state: RouteChanged, episode: str, since: int, run_length: float, began: float
) -> Monitor:
    rule = state.spec.drift
    return Monitor(
        route=state.route,
        tenant=state.tenant,
        adapter_id=state.champion.adapter_id if state.champion else None,
        episode=episode,
        began=began,
        since=since,
        cursor=0,
        reference=rule.reference,
        window=rule.window,
        windows=0,
        unmatched=0,
        recent=(),
        statistics=(),
        input_drift_id=None,
        error_drift_id=None,
        pending=None,
        tolerance=ErrorDetector(rule.tolerated_error, run_length),
        rise=ErrorDetector(None, run_length),
    )


def step(evidence: Floats, errors: npt.NDArray[np.integer] | int, bar: Floats | float) -> Floats:
    """Return the evidence after one more block with so many errors.

    Works on a whole batch of streams: the last axis is the stakes.
    """
    bet = 1 + STAKES * (errors / BLOCK / bar - 1)
    after: Floats = np.minimum((BLOCK + evidence) * bet, MOST_EVIDENCE)
    return after


def learned_bar(errors: npt.NDArray[np.integer]) -> Floats:
    """Return a rate that lies above the true one with a chance of SURE, from the errors in each of
    some blocks; the first axis is the blocks.

    The larger of an exact bound of single labels (Clopper, Pearson 1934) and one of whole blocks
    (Student), which is the larger where errors come in spells.
    """
    blocks = len(errors)
    shares = errors / BLOCK
    of_labels = beta.ppf(SURE, errors.sum(axis=0) + 1, blocks * BLOCK - errors.sum(axis=0))
    spread = shares.std(axis=0, ddof=1) / np.sqrt(blocks)
    of_blocks = shares.mean(axis=0) + t.ppf(SURE, blocks - 1) * spread
    # Where all were wrong nothing can rise.
    bar: Floats = np.fmin(np.fmax(of_labels, of_blocks), 1.0)
    return bar


def labels_to_find(bar: float, error: float, run_length: float) -> float | None:
    """Return about how many labels it takes to an alarm once so many are wrong; None for ever.

    The evidence for the best stake grows by a constant factor a block, from a block's worth on.
    """
    errors = np.arange(BLOCK + 1)
    chance = binom.pmf(errors, BLOCK, error)
    bets = 1 + STAKES[:, None] * (errors / BLOCK / bar - 1)
    growth = float((np.log(bets) @ chance).max())
    return BLOCK * float(np.log(run_length / BLOCK)) / growth if growth > 0 else None

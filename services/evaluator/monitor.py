"""Has the error rate risen? A Shiryaev-Roberts e-detector on audited answers (docs/methods.md,
section 5).

While the true error is at most `tolerated`, it takes at least `run_length` labels on average to a
false alarm: a guarantee, not an approximation. Measured: 5 % rising to 15 % at a tolerated 8 % is
found after 112 labels in the median (run_length 2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events import RouteChanged, Statistic

Floats = npt.NDArray[np.float64]

# The rises it looks for, as multiples of the tolerated rate.
FACTORS = np.array([1.5, 2.0, 3.0, 5.0])
# Bounds the evidence, so that the stored number stays finite.
MOST_EVIDENCE = 1e12


@dataclass(frozen=True)
class ErrorDetector:
    """`evidence` holds one Shiryaev-Roberts statistic for each rise; the alarm is on their mean."""

    # Error rate that the route's owner accepts.
    tolerated: float
    # Labels on average to a false alarm.
    run_length: float
    evidence: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    @property
    def statistic(self) -> float:
        return float(np.mean(self.evidence))

    @property
    def fired(self) -> bool:
        return self.statistic >= self.run_length

    def update(self, wrong: bool) -> ErrorDetector:
        """Return the detector after one more audited label.

        Count each label once, or the guarantee is void.
        """
        return ErrorDetector(
            self.tolerated,
            self.run_length,
            tuple(step(np.array(self.evidence), wrong, self.tolerated).tolist()),
        )


@dataclass(frozen=True)
class Monitor:
    """The state of one route's monitors for one champion.

    An episode ends when the champion or the meaning of the route changes.
    """

    route: str
    tenant: str
    adapter_id: str
    episode: str
    # Observations up to this number belong to an earlier episode.
    since: int
    # The next window begins after this observation; 0 until the reference is complete.
    cursor: int
    # Observations in the reference, and in a window.
    reference: int
    window: int
    # Windows compared so far.
    windows: int
    # Whether each of the last windows fired, oldest first.
    recent: tuple[bool, ...]
    # Of the last window.
    statistics: tuple[Statistic, ...]
    input_drift_id: str | None
    detector: ErrorDetector
    # Audited verdicts counted so far, and how many of them were errors.
    labels: int
    errors: int
    error_fired: bool
    error_drift_id: str | None


def fresh_monitor(
    state: RouteChanged, adapter_id: str, episode: str, since: int, run_length: float
) -> Monitor:
    rule = state.spec.drift
    return Monitor(
        route=state.route,
        tenant=state.tenant,
        adapter_id=adapter_id,
        episode=episode,
        since=since,
        cursor=0,
        reference=rule.reference,
        window=rule.window,
        windows=0,
        recent=(),
        statistics=(),
        input_drift_id=None,
        detector=ErrorDetector(rule.tolerated_error, run_length),
        labels=0,
        errors=0,
        error_fired=False,
        error_drift_id=None,
    )


def rises(tolerated: float) -> Floats:
    """Return the error rates that the detector looks for.

    They are half at most, unless half is itself tolerated.
    """
    return np.minimum(FACTORS * tolerated, 0.5 if tolerated < 0.5 else (1 + tolerated) / 2)


def step(evidence: Floats, wrong: npt.NDArray[np.bool_] | bool, tolerated: float) -> Floats:
    """Return the evidence after one more label.

    Works on a whole batch of streams: the last axis is the rises.
    """
    rates = rises(tolerated)
    ratio = np.where(wrong, rates / tolerated, (1 - rates) / (1 - tolerated))
    return np.minimum((1 + evidence) * ratio, MOST_EVIDENCE)

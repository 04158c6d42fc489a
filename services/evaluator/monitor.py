"""Has the error rate risen? A Shiryaev-Roberts e-detector on audited answers (methods page, section
5b).

While the true error is at most `tolerated`, it takes at least `run_length` labels on average to a
false alarm: a guarantee, not an approximation. Measured: 5 % rising to 15 % at a tolerated 8 % is
found after 112 labels in the median (A = 2000).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

FACTORS = np.array(
    [1.5, 2.0, 3.0, 5.0]
)  # the rises it looks for, as multiples of the tolerated rate


@dataclass(frozen=True)
class ErrorDetector:
    """`evidence` holds one Shiryaev-Roberts statistic for each rise; the alarm is on their mean."""

    tolerated: float
    run_length: float
    evidence: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    @property
    def statistic(self) -> float:
        return float(np.mean(self.evidence))

    @property
    def fired(self) -> bool:
        return self.statistic >= self.run_length

    def update(self, wrong: bool) -> ErrorDetector:
        """After one audited label; count each label once, or the guarantee is void."""
        return ErrorDetector(
            self.tolerated,
            self.run_length,
            tuple(step(np.array(self.evidence), wrong, self.tolerated).tolist()),
        )


@dataclass(frozen=True)
class Monitor:
    """The state of one route's monitors for one champion. An episode ends when champion or meaning
    of the route changes.
    """

    route: str
    tenant: str
    adapter_id: str
    episode: str
    since: int  # observations up to this number belong to an earlier episode
    cursor: int  # the next window begins after this observation; 0 until the reference is complete
    reference: int
    window: int
    windows: int
    recent: str  # JSON: did each of the last windows fire
    statistics: str  # JSON: of the last window
    input_drift_id: str | None
    tolerated: float
    run_length: float
    evidence: str  # JSON: the error detector
    labels: int
    errors: int
    error_fired: int
    error_drift_id: str | None

    @property
    def detector(self) -> ErrorDetector:
        return ErrorDetector(self.tolerated, self.run_length, tuple(json.loads(self.evidence)))


def rises(tolerated: float) -> np.ndarray:
    """Alternatives above the tolerated rate; half at most, unless half is itself tolerated."""
    return np.minimum(FACTORS * tolerated, 0.5 if tolerated < 0.5 else (1 + tolerated) / 2)


def step(evidence: np.ndarray, wrong: np.ndarray | bool, tolerated: float) -> np.ndarray:
    """One label further; works on a whole batch of streams (last axis: the rises)."""
    q = rises(tolerated)
    ratio = np.where(wrong, q / tolerated, (1 - q) / (1 - tolerated))
    return np.minimum(
        (1 + evidence) * ratio, 1e12
    )  # bounded, so that the stored number stays finite

"""From a score to P(correct), and from the attempts of one request to its answer (methods page,
sections 1 to 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from schemas.base import Attempt, Confidence
from schemas.events import CalibrationFitted

CLIP = 1e-4
Outcome = Literal["confident", "fell_back", "unsure"]


def p_correct(score: float, calibration: CalibrationFitted) -> float:
    clipped = min(max(score, CLIP), 1 - CLIP)
    return _sigmoid(calibration.slope * math.log(clipped / (1 - clipped)) + calibration.intercept)


def calibrated(confidence: Confidence, calibration: CalibrationFitted) -> Confidence:
    return confidence.model_copy(
        update={
            "p_correct": p_correct(confidence.score, calibration),
            "threshold": calibration.threshold,
            "calibration_id": calibration.calibration_id,
        }
    )


def is_confident(confidence: Confidence | None) -> bool:
    """An arm without calibration is never confident: nothing is known of its errors. Threshold 1
    trusts no answer.
    """
    if confidence is None or confidence.p_correct is None or confidence.threshold is None:
        return False
    return confidence.threshold < 1 and confidence.p_correct >= confidence.threshold


def settle(attempts: Sequence[Attempt], fallback: bool) -> tuple[Attempt, Outcome]:
    """The attempt to answer with. `fallback`: the last attempt is the base model standing in for an
    adapter.
    """
    last = attempts[-1]
    if is_confident(last.confidence):
        return last, "fell_back" if fallback else "confident"
    return (
        max(attempts, key=_belief),
        "unsure",
    )  # max keeps the first of equals: the adapter before the base model


def _belief(attempt: Attempt) -> float:
    return (attempt.confidence.p_correct if attempt.confidence else None) or 0.0


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))

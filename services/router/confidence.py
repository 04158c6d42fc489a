"""From a score to P(correct), and whether that is enough (docs/methods.md, sections 1 to 3)."""

from __future__ import annotations

from schemas.base import Confidence
from schemas.events import CalibrationFitted
from shared.rules import p_correct


def calibrated(confidence: Confidence, calibration: CalibrationFitted) -> Confidence:
    """Add what the calibration of the arm says about this confidence."""
    return confidence.model_copy(
        update={
            "p_correct": p_correct(confidence.score, calibration.slope, calibration.intercept),
            "threshold": calibration.threshold,
            "calibration_id": calibration.calibration_id,
        }
    )


def is_confident(confidence: Confidence | None) -> bool:
    """Return whether P(correct) reaches the threshold.

    An arm without calibration is never confident, since nothing is known of its errors. Threshold 1
    trusts no answer.
    """
    if confidence is None or confidence.p_correct is None or confidence.threshold is None:
        return False
    return confidence.threshold < 1 and confidence.p_correct >= confidence.threshold

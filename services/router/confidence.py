"""From a score to P(correct), and whether that is enough (docs/methods.md, sections 1 to 3)."""

from __future__ import annotations

from schemas.base import Confidence
from schemas.events import CalibrationFitted
from schemas.route import Guarantee
from shared.rules import p_correct


def calibrated(confidence: Confidence, calibration: CalibrationFitted) -> Confidence:
    """Add what the calibration of the arm says about this confidence."""
    return confidence.model_copy(
        update={
            "p_correct": p_correct(confidence.score, calibration.slope, calibration.intercept),
            "threshold": calibration.threshold,
            "calibration_id": calibration.calibration_id,
            "certified": calibration.certified,
        }
    )


def is_confident(confidence: Confidence | None, guarantee: Guarantee) -> bool:
    """Return whether an answer is trusted: P(correct) reaches the threshold, and the threshold is
    certified where the route is strict.

    An arm without calibration is never confident, since nothing is known of its errors. Threshold 1
    trusts no answer.
    """
    if confidence is None or confidence.p_correct is None or confidence.threshold is None:
        return False
    if guarantee == "strict" and not confidence.certified:
        return False
    return confidence.threshold < 1 and confidence.p_correct >= confidence.threshold


def lacks_certificate(confidence: Confidence | None, max_risk: float) -> bool:
    """Return whether an answer that is not trusted lacks nothing but a certificate: it is as
    probable to be right as the route asks, by a calibration without one; or there is none at all.
    """
    if confidence is None or confidence.p_correct is None:
        return True
    return not confidence.certified and confidence.p_correct >= 1 - max_risk

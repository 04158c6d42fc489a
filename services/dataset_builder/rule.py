"""When a new dataset is built: pure, from what stands since the last build."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from schemas.route import RetrainRule

RETRY_SHARE = 0.25  # of the threshold: a refused build is not tried again at every verdict


@dataclass(frozen=True)
class Standing:
    """New verdicts are those one may train on: with an answer, outside the audit share."""

    new: int = 0  # since the last dataset
    new_after_drift: int = 0  # of these, reviewed after the drift was detected
    drift_id: str | None = None  # armed from the drift until the next dataset
    building: bool = False
    since_refusal: int = 0
    wait: int = 0  # new verdicts after a refusal before the next attempt


def decide(standing: Standing, rule: RetrainRule) -> str | None:
    """Why to build now; None when not."""
    if standing.building or standing.since_refusal < standing.wait:
        return None
    if standing.new >= rule.min_new_verdicts:
        return f"{standing.new} new verdicts (the route asks for {rule.min_new_verdicts})"
    if standing.drift_id and standing.new_after_drift >= rule.min_new_after_drift:
        return (
            f"{standing.new_after_drift} new verdicts after drift {standing.drift_id} "
            f"(the route asks for {rule.min_new_after_drift})"
        )
    return None


def wait_after_refusal(missing: int, drift_id: str | None, rule: RetrainRule) -> int:
    """At least what is missing, since a verdict fills one gap; and never so few that every verdict
    starts a build.
    """
    threshold = rule.min_new_after_drift if drift_id else rule.min_new_verdicts
    return max(missing, ceil(RETRY_SHARE * threshold))

"""When a new dataset is built: pure, from what stands since the last build."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from schemas.route import RetrainRule

# Share of the route's threshold: a refused build is not tried again at every verdict.
RETRY_SHARE = 0.25


@dataclass(frozen=True)
class NewVerdicts:
    """How many verdicts one may train on came: with an answer, outside the audit share."""

    # Since the last dataset.
    in_all: int
    # Of these, reviewed after the drift was detected.
    after_drift: int
    # Of these, since the last build that was ordered.
    since_attempt: int


@dataclass(frozen=True)
class Standing:
    """How near a route is to its next build; the counts are of new trainable verdicts."""

    new: int = 0
    new_after_drift: int = 0
    # Armed from the drift until the next dataset.
    drift_id: str | None = None
    building: bool = False
    since_refusal: int = 0
    # New verdicts after a refusal before the next attempt.
    wait: int = 0


def reason_to_build(standing: Standing, rule: RetrainRule) -> str | None:
    """Return why to build now; None when not to."""
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
    """Return how many new verdicts to wait for: at least what is missing, since a verdict fills one
    gap, and never so few that every verdict starts a build.
    """
    threshold = rule.min_new_after_drift if drift_id else rule.min_new_verdicts
    return max(missing, ceil(RETRY_SHARE * threshold))

"""When a new dataset is built: pure, from what stands since the last build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from schemas.monitoring import Brake
from schemas.route import RetrainRule

# Share of the route's threshold: a refused build is not tried again at every verdict.
RETRY_SHARE = 0.25
WEEK = timedelta(days=7)


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
    # Known from the drift until the next dataset; `confirmed` once labels bear it out.
    drift_id: str | None = None
    confirmed: bool = False
    building: bool = False
    since_refusal: int = 0
    # New verdicts after a refusal before the next attempt.
    wait: int = 0


@dataclass(frozen=True)
class Held:
    """Which brake has a dataset wait that is due, and until when."""

    brake: Brake
    until: datetime


def held_back(built: Sequence[datetime], rule: RetrainRule, now: datetime) -> Held | None:
    """Return what holds the next dataset back, given when the last ones were built, newest first;
    None where nothing does. What lasts longest is named.
    """
    held = []
    if built:
        held.append(Held("cooldown", built[0] + timedelta(hours=rule.cooldown_hours)))
    if rule.most_a_week and len(built) >= rule.most_a_week:
        held.append(Held("weekly-budget", built[rule.most_a_week - 1] + WEEK))
    last = max(held, key=lambda each: each.until, default=None)
    return last if last and last.until > now else None


def reason_to_build(standing: Standing, rule: RetrainRule) -> str | None:
    """Return why to build now; None when not to."""
    if standing.building or standing.since_refusal < standing.wait:
        return None
    if standing.new >= rule.min_new_verdicts:
        return f"{standing.new} new verdicts (the route asks for {rule.min_new_verdicts})"
    enough = standing.new_after_drift >= rule.min_new_after_drift
    if standing.drift_id and standing.confirmed and enough:
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

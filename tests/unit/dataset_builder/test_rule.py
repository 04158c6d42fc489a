"""When a dataset is built."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.route import RetrainRule
from services.dataset_builder.rule import (
    Held,
    Standing,
    held_back,
    reason_to_build,
    wait_after_refusal,
)

RULE = RetrainRule(min_new_verdicts=100, min_new_after_drift=40)
DRIFTED = Standing(new=50, new_after_drift=40, drift_id="d1", confirmed=True)
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def hours_ago(*hours: float) -> list[datetime]:
    return [NOW - timedelta(hours=each) for each in hours]


@pytest.mark.parametrize(
    ("standing", "builds"),
    [
        (Standing(new=99), False),
        (Standing(new=100), True),
        (Standing(new=50, new_after_drift=40), False),
        (Standing(new=50, new_after_drift=39, drift_id="d1", confirmed=True), False),
        (Standing(new=50, new_after_drift=40, drift_id="d1", confirmed=True), True),
        (Standing(new=50, new_after_drift=40, drift_id="d1"), False),
        (Standing(new=500, building=True), False),
        (Standing(new=120, since_refusal=24, wait=25), False),
        (Standing(new=121, since_refusal=25, wait=25), True),
    ],
)
def test_builds_on_enough_new_verdicts_or_on_fewer_after_drift(
    standing: Standing, builds: bool
) -> None:
    assert bool(reason_to_build(standing, RULE)) is builds


def test_reason_names_the_drift() -> None:
    assert "drift d1" in reason_to_build(DRIFTED, RULE)


def test_after_a_refusal_what_is_missing_must_come_first_and_never_one_verdict_alone() -> None:
    assert wait_after_refusal(80, None, RULE) == 80
    assert wait_after_refusal(1, None, RULE) == 25
    assert wait_after_refusal(1, "d1", RULE) == 10


def test_a_route_has_no_brake_unless_it_asks_for_one() -> None:
    assert held_back(hours_ago(0.01, 1, 2), RetrainRule(), NOW) is None


@pytest.mark.parametrize(
    ("built", "rule", "held"),
    [
        ([], {"cooldown_hours": 6, "most_a_week": 1}, None),
        (hours_ago(5), {"cooldown_hours": 6}, Held("cooldown", NOW + timedelta(hours=1))),
        (hours_ago(6), {"cooldown_hours": 6}, None),
        (hours_ago(1, 167), {"most_a_week": 2}, Held("weekly-budget", NOW + timedelta(hours=1))),
        (hours_ago(1, 168), {"most_a_week": 2}, None),
        (hours_ago(1), {"most_a_week": 2}, None),
        (
            hours_ago(1, 150),
            {"cooldown_hours": 6, "most_a_week": 2},
            Held("weekly-budget", NOW + timedelta(hours=18)),
        ),
    ],
)
def test_brakes_hold_for_as_long_as_the_route_says(
    built: list[datetime], rule: dict, held: Held | None
) -> None:
    assert held_back(built, RetrainRule(**rule), NOW) == held

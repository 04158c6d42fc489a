"""When a dataset is built."""

import pytest

from schemas.route import RetrainRule
from services.dataset_builder.rule import Standing, reason_to_build, wait_after_refusal

RULE = RetrainRule(min_new_verdicts=100, min_new_after_drift=40)


@pytest.mark.parametrize(
    ("standing", "builds"),
    [
        (Standing(new=99), False),
        (Standing(new=100), True),
        (Standing(new=50, new_after_drift=40), False),
        (Standing(new=50, new_after_drift=39, drift_id="d1"), False),
        (Standing(new=50, new_after_drift=40, drift_id="d1"), True),
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
    assert "drift d1" in reason_to_build(Standing(new=50, new_after_drift=40, drift_id="d1"), RULE)


def test_after_a_refusal_what_is_missing_must_come_first_and_never_one_verdict_alone() -> None:
    assert wait_after_refusal(80, None, RULE) == 80
    assert wait_after_refusal(1, None, RULE) == 25
    assert wait_after_refusal(1, "d1", RULE) == 10

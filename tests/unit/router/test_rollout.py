"""Shares are sticky and true, the canary's guard rarely errs, and the fallback rule holds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Attempt
from schemas.evaluation import ArmResult
from schemas.events import ChallengerState
from services.router import rollout
from services.router.confidence import is_confident
from services.router.rollout import CanaryRule, admit, failure_evidence, pick_arm, position
from services.router.state import RouteState
from services.router.tries import Try, choose
from shared.rules import Completion, p_correct
from tests import factories

CHAMPION = factories.adapter("a" * 12)
CHALLENGER = factories.adapter("b" * 12)
STATE = RouteState(
    version=1,
    spec=factories.spec(),
    champion=CHAMPION,
    challenger=ChallengerState(adapter=CHALLENGER, share=0.2),
)


def test_the_share_is_kept_and_a_session_keeps_its_arm() -> None:
    arms = [pick_arm(STATE, f"user-{n}", lambda _: True).arm for n in range(10_000)]
    assert arms == [pick_arm(STATE, f"user-{n}", lambda _: True).arm for n in range(10_000)]
    assert arms.count("challenger") == pytest.approx(2000, abs=160)  # four standard deviations
    assert set(arms) == {"challenger", "champion"}


def test_each_adapter_shuffles_the_sessions_anew() -> None:
    both = sum(
        position("r", "one", f"u{n}") < 0.2 and position("r", "two", f"u{n}") < 0.2
        for n in range(10_000)
    )
    assert both == pytest.approx(400, abs=80)


def test_only_proven_adapters_get_traffic() -> None:
    assert pick_arm(STATE, "u", lambda _: False) == rollout.Pick(
        "base", None, waiting_for=CHAMPION.adapter_id
    )
    assert {
        pick_arm(STATE, f"u{n}", lambda name: name == CHAMPION.adapter_id).arm for n in range(50)
    } == {"champion"}
    alone = STATE.model_copy(update={"champion": None})
    assert {pick_arm(alone, f"u{n}", lambda _: True).arm for n in range(50)} == {
        "base",
        "challenger",
    }


def test_the_guard_stops_a_good_canary_at_most_once_in_twenty_however_often_it_looks() -> None:
    random_ = random.Random(3)
    stopped = 0
    for _ in range(1000):
        failed = 0
        for answered in range(1, 101):
            failed += random_.random() < rollout.TOLERATED
            if failure_evidence(answered, failed) >= rollout.EVIDENCE:
                stopped += 1
                break
    assert stopped <= 50


def test_the_guard_finds_a_broken_adapter_within_a_few_answers() -> None:
    assert failure_evidence(3, 3) >= rollout.EVIDENCE  # every answer fails
    assert failure_evidence(2, 2) < 200
    assert failure_evidence(20, 1) < 1


def test_a_canary_ends_by_count_or_by_time() -> None:
    rule = CanaryRule(share=0.2, requests=20, seconds=30)
    assert rule.verdict(19, 0, 29.0)[0] == "wait"
    assert rule.verdict(20, 1, 1.0)[0] == "promote"
    assert rule.verdict(0, 0, 30.0)[0] == "promote"
    assert rule.verdict(20, 10, 31.0)[0] == "retract"


def test_an_adapter_gets_one_canary_and_only_against_whom_it_beat() -> None:
    state = STATE.model_copy(update={"challenger": None})
    beat = tuple(
        ArmResult(
            arm="champion",
            adapter_id=name,
            n=9,
            accuracy=1,
            format_compliance=1,
            latency_p50_ms=1,
            latency_p95_ms=1,
        )
        for name in (CHAMPION.adapter_id,)
    )
    event = factories.evaluated(adapter=CHALLENGER, arms=beat)
    assert admit(event, state, served_before=False) == "canary"
    assert admit(event, state, served_before=True) == "served before"
    assert (
        admit(factories.evaluated(adapter=CHALLENGER), state, False)
        == "compared with another champion"
    )
    assert (
        admit(
            factories.evaluated(adapter=CHALLENGER),
            state.model_copy(update={"champion": None}),
            False,
        )
        == "canary"
    )
    assert admit(factories.evaluated(verdict="reject"), state, False) == "rejected"
    foreign = CHALLENGER.model_copy(update={"adapter_id": "globex--support-triage@" + "b" * 12})
    assert admit(factories.evaluated(adapter=foreign, arms=beat), state, False) == "foreign"


@given(score=st.floats(0, 1), slope=st.floats(-50, 50), intercept=st.floats(-50, 50))
def test_p_correct_is_a_probability(score: float, slope: float, intercept: float) -> None:
    assert 0 <= p_correct(score, slope, intercept) <= 1


def attempt(arm: str, p: float | None, threshold: float | None = 0.7) -> Attempt:
    return Attempt(
        arm=arm,
        model="m",
        answer=arm,
        latency_ms=1,
        confidence=factories.confidence(p_correct=p, threshold=threshold),
    )


def test_nothing_is_trusted_without_a_calibration_or_at_threshold_1() -> None:
    assert not is_confident(None)
    assert not is_confident(attempt("base", None).confidence)
    assert not is_confident(attempt("base", 1.0, threshold=1.0).confidence)
    assert is_confident(attempt("base", 0.7).confidence)


@pytest.mark.parametrize(
    ("champion", "base", "arm", "outcome"),
    [
        (0.9, None, "champion", "confident"),
        (0.5, 0.8, "base", "fell_back"),
        (0.5, 0.4, "champion", "unsure"),
        (0.3, 0.4, "base", "unsure"),
        (None, 0.2, "base", "unsure"),
        (0.4, 0.4, "champion", "unsure"),
    ],
)
def test_the_answer_is_the_one_more_likely_right(
    champion: float | None, base: float | None, arm: str, outcome: str
) -> None:
    attempts = [attempt("champion", champion)] + (
        [] if champion == 0.9 else [attempt("base", base)]
    )
    tries = [Try(one, Completion(one.answer, one.confidence, -0.1)) for one in attempts]
    chosen, found = choose(tries, fallback=len(tries) > 1)
    assert (chosen.attempt.arm, found) == (arm, outcome)

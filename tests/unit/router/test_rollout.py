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
from services.router.confidence import is_confident, lacks_certificate
from services.router.evidence import (
    EVIDENCE,
    ROLLBACK_EVIDENCE,
    TOLERATED,
    Against,
    Audited,
    Comparison,
    FailureWatch,
    compare,
    failure_evidence,
)
from services.router.rollout import CanaryRule, Seen, admit, pick_arm, position
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
            failed += random_.random() < TOLERATED
            if failure_evidence(answered, failed) >= EVIDENCE:
                stopped += 1
                break
    assert stopped <= 50


def test_the_guard_finds_a_broken_adapter_within_a_few_answers() -> None:
    assert failure_evidence(3, 3) >= EVIDENCE  # every answer fails
    assert failure_evidence(2, 2) < 200
    assert failure_evidence(20, 1) < 1


def test_a_canary_has_enough_answers_and_time() -> None:
    rule = CanaryRule(share=0.2, requests=20, seconds=30)
    assert rule.verdict(Seen(20, 0, 29.0), "wait").move == "wait"
    assert rule.verdict(Seen(19, 0, 1e6), "wait").move == "wait"
    assert rule.verdict(Seen(20, 1, 30.0), "wait").move == "promote"
    assert rule.verdict(Seen(20, 10, 1.0), "wait").move == "retract"


def test_a_quiet_route_is_promoted_on_the_evidence_of_the_gate_where_its_owner_says_so() -> None:
    rule = CanaryRule(share=0.2, requests=20, seconds=30)
    promoted = rule.verdict(Seen(3, 0, 30.0), "promote")
    assert promoted.move == "promote"
    assert "on the gate's evidence" in promoted.because
    assert rule.verdict(Seen(0, 0, 30.0), "promote").move == "promote"
    assert rule.verdict(Seen(1, 1, 30.0), "promote").move == "wait"
    assert rule.verdict(Seen(2, 1, 30.0), "promote").move == "wait"
    assert rule.verdict(Seen(0, 0, 30.0, waiting=1), "promote").move == "wait"


def test_audited_answers_stop_a_canary_and_a_promotion_says_them() -> None:
    rule = CanaryRule(share=0.2, requests=20, seconds=30)
    worse = Seen(100, 0, 30.0, compared=Against(Comparison(wins=5, losses=25, pairs=60)))
    assert rule.verdict(worse, "wait").move == "retract"
    equal = Seen(100, 0, 30.0, compared=Against(Comparison(wins=9, losses=10, pairs=60)))
    assert "60 audited pairs" in rule.verdict(equal, "wait").because


def test_an_adapter_is_compared_with_who_served_beside_it_and_then_with_who_served_before() -> None:
    new = [Audited(10.0 + n, 20.0 + n, right=False) for n in range(3)]
    beside, before = Audited(11.0, 12.0, right=True), Audited(1.0, 50.0, right=False)
    assert compare(new, [before, beside], began=5.0) == Comparison(0, 1, pairs=1, single=2)
    assert compare(new, [before, beside], 5.0, promoted=60.0) == Comparison(0, 1, 2, single=1)


def test_a_champion_that_breaks_after_a_million_good_answers_is_found_at_once() -> None:
    watch = FailureWatch()
    for _ in range(1000):
        watch = watch.seen(1000, 30)
    assert watch.evidence < 1
    bad = 0
    while watch.evidence < ROLLBACK_EVIDENCE:
        bad, watch = bad + 1, watch.seen(3, 3)
    assert bad <= 9


def test_one_spell_of_failures_rolls_nothing_back() -> None:
    assert FailureWatch().seen(50, 50).evidence < ROLLBACK_EVIDENCE
    assert FailureWatch().seen(50, 50).seen(50, 50).evidence >= ROLLBACK_EVIDENCE


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
    assert admit(event, state, served_before=False, at=1.0) == "canary"
    assert admit(event, state, served_before=True, at=1.0) == "served before"
    assert (
        admit(factories.evaluated(adapter=CHALLENGER), state, False, 1.0)
        == "compared with another champion"
    )
    assert (
        admit(
            factories.evaluated(adapter=CHALLENGER),
            state.model_copy(update={"champion": None}),
            False,
            1.0,
        )
        == "canary"
    )
    assert admit(factories.evaluated(verdict="reject"), state, False, 1.0) == "rejected"
    frozen = state.rolled_back(CHAMPION, frozen_until=2.0)
    assert admit(event, frozen, served_before=False, at=1.0) == "frozen"
    assert admit(event, frozen, served_before=False, at=2.0) == "canary"
    foreign = CHALLENGER.model_copy(update={"adapter_id": "globex--support-triage@" + "b" * 12})
    assert admit(factories.evaluated(adapter=foreign, arms=beat), state, False, 1.0) == "foreign"


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
    assert not is_confident(None, "best-effort")
    assert not is_confident(attempt("base", None).confidence, "best-effort")
    assert not is_confident(attempt("base", 1.0, threshold=1.0).confidence, "best-effort")
    assert is_confident(attempt("base", 0.7).confidence, "best-effort")


def test_a_strict_route_trusts_a_certified_threshold_alone() -> None:
    proven = factories.confidence(p_correct=0.95, threshold=0.7, certified=True)
    guessed = factories.confidence(p_correct=0.95, threshold=0.7, certified=False)
    assert is_confident(proven, "strict")
    assert not is_confident(guessed, "strict")
    assert is_confident(guessed, "best-effort")
    assert lacks_certificate(guessed, max_risk=0.1)
    assert lacks_certificate(factories.confidence(), max_risk=0.1)
    assert not lacks_certificate(guessed.model_copy(update={"p_correct": 0.89}), max_risk=0.1)
    assert not lacks_certificate(proven.model_copy(update={"threshold": 0.99}), max_risk=0.1)


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

"""The coin is uniform and repeatable; every probability is known and at least the audit rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.route import ReviewRule
from services.review.sampling import coin, rank, sample

RATE = st.floats(0, 1)
RULES = st.builds(ReviewRule, rate=RATE, audit_rate=RATE, unsure_rate=RATE)


def test_the_coin_is_uniform_and_depends_on_the_salt() -> None:
    coins = sorted(coin(f"i{n}", "salt") for n in range(20_000))
    furthest = max(abs(u - n / 20_000) for n, u in enumerate(coins))
    assert furthest < 1.63 / 20_000**0.5  # Kolmogorov-Smirnov at 1 %
    assert coin("i1", "salt") == coin("i1", "salt") != coin("i1", "pepper")


@given(st.floats(0, 1, exclude_max=True), RULES, st.booleans(), st.booleans(), st.booleans())
def test_audited_is_a_subset_of_reviewed_and_the_probability_is_honest(
    u: float, rule: ReviewRule, unsure: bool, drift: bool, complaint: bool
) -> None:
    decision = sample(u, rule, unsure=unsure, drift=drift, complaint=complaint)
    assert decision.sampled == (u < decision.probability)
    assert decision.audit == (u < rule.audit_rate)
    assert not decision.audit or decision.sampled
    assert decision.probability >= rule.audit_rate


@pytest.mark.parametrize(
    ("flags", "probability", "reason"),
    [
        ({}, 0.1, "sampled"),
        ({"unsure": True}, 0.7, "unsure"),
        ({"unsure": True, "drift": True}, 1.0, "drift"),
        ({"unsure": True, "drift": True, "complaint": True}, 1.0, "feedback"),
    ],
)
def test_the_strongest_reason_sets_the_probability(
    flags: dict, probability: float, reason: str
) -> None:
    decision = sample(0.05, ReviewRule(rate=0.1, audit_rate=0.04, unsure_rate=0.7), **flags)
    assert (decision.probability, decision.reason, decision.audit) == (probability, reason, False)


def test_an_audited_answer_without_another_reason_says_audit() -> None:
    assert sample(0.03, ReviewRule(rate=0.1, audit_rate=0.04)).reason == "audit"
    assert sample(0.03, ReviewRule(rate=0.1, audit_rate=0.04), unsure=True).reason == "unsure"


def test_the_queue_is_first_in_first_out_behind_complaints_and_drift() -> None:
    rule = ReviewRule(rate=0.1, audit_rate=0.04)
    ranks = {
        flag: rank(sample(0.05, rule, **{flag: True})) for flag in ("complaint", "drift", "unsure")
    }
    assert (
        ranks == {"complaint": 0, "drift": 1, "unsure": 2}
        and rank(sample(0.01, rule)) == rank(sample(0.05, rule)) == 2
    )
    # a complaint never pulls an audited answer ahead
    assert rank(sample(0.01, rule, complaint=True)) == 2

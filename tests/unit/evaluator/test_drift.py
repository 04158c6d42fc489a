"""Drift alarms stay at the stated rate on unchanged input, and an uncorrected rule does not."""

from __future__ import annotations

import numpy as np
import pytest

from services.evaluator.drift import ALPHA, BUCKETS, Sample, compare, fingerprint, holm, sustained
from services.evaluator.observed import champion_answer
from tests import factories

WINDOWS = 1_000
PER_REFERENCE = 10
REFERENCE = 80
WINDOW = 40
LABELS = np.array(
    ["delivery", "refund", "password", "invoice", "cancel", "address", "damage", "praise"]
)
SHARES = np.array([0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02])


def sample(rng: np.random.Generator, n: int, unsure: float = 0.0, new: float = 0.0) -> Sample:
    """Answers of a tuned model: scores near 1, skewed labels. `unsure` of them come from a kind it
    never saw.
    """
    strange = rng.random(n) < unsure
    score = np.where(strange, rng.beta(3, 3, n), rng.beta(9, 0.6, n))
    label = rng.choice(LABELS, n, p=SHARES)
    label[rng.random(n) < new] = "(other)"
    wording = rng.poisson(np.where(strange[:, None], np.roll(RATES, 7), RATES), (n, BUCKETS))
    return Sample(score, rng.poisson(14, n) + 3, label.tolist(), wording)


RATES = np.random.default_rng(0).gamma(0.5, 1.5, BUCKETS)


def p_values_of_null_windows() -> np.ndarray:
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(WINDOWS // PER_REFERENCE):
        reference = sample(rng, REFERENCE)
        rows += [
            [s.p_value for s in compare(reference, sample(rng, WINDOW), seed=len(rows))]
            for _ in range(PER_REFERENCE)
        ]
    return np.array(rows)


@pytest.fixture(scope="module")
def null() -> np.ndarray:
    return p_values_of_null_windows()


def bound() -> float:
    return ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / WINDOWS)


def test_windows_without_drift_raise_alarms_at_the_stated_rate(null: np.ndarray) -> None:
    assert np.mean([any(holm(p)) for p in null]) <= bound()


def test_an_uncorrected_rule_breaks_that_rate(null: np.ndarray) -> None:
    assert np.mean((null <= 0.05).any(axis=1)) > bound()


def test_each_test_alone_keeps_its_level(null: np.ndarray) -> None:
    assert (np.mean(null <= 0.05, axis=0) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / WINDOWS)).all()


@pytest.mark.parametrize("change", [{"unsure": 0.5}, {"new": 0.5}])
def test_a_new_kind_of_request_is_found_in_nearly_every_window(change: dict[str, float]) -> None:
    rng = np.random.default_rng(2)
    reference = sample(rng, REFERENCE)
    found = [
        any(s.fired for s in compare(reference, sample(rng, WINDOW, **change))) for _ in range(40)
    ]
    assert np.mean(found) >= 0.9


def test_an_alarm_needs_two_of_the_last_three_windows() -> None:
    assert not sustained([True])
    assert sustained([True, False, True])
    assert not sustained([True, False, False, True])
    assert sustained([False, True, True])


def test_holm_stops_at_the_first_that_is_not_significant() -> None:
    assert holm([0.002, 0.9, 0.004, 0.003]) == [True, False, True, True]
    assert holm([0.003, 0.004, 0.004, 0.004]) == [False] * 4


def test_the_fingerprint_is_small_and_counts_what_the_text_says() -> None:
    one, same, other = (
        fingerprint(text)
        for text in ("Where is my parcel?", "where is  my PARCEL?", "I forgot my password")
    )
    assert len(one) == BUCKETS and one == same != other
    assert sum(one) == len(" where is my parcel? ") - 2


def test_constant_answers_are_no_drift() -> None:
    constant = Sample(np.full(60, 0.99), np.full(60, 5), ["refund"] * 60, np.ones((60, BUCKETS)))
    assert not any(s.fired for s in compare(constant, constant.part(0, 30)))


def test_an_answer_that_was_cut_is_no_answer_of_the_champions() -> None:
    adapter = factories.adapter().adapter_id
    said = {"arm": "champion", "adapter_id": adapter}
    assert champion_answer(factories.inference(**said)) is not None
    assert champion_answer(factories.inference(**said, cut=True)) is None

"""Calibration recovers a known truth, and a certified threshold keeps its promise at the stated
rate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, logit

from services.evaluator.calibration import (
    calibrate,
    cross_brier,
    fit,
    log_odds,
    probabilities,
)
from services.evaluator.certificate import (
    certify,
    clopper_pearson_upper,
    first_coverage,
    labels_missing,
)
from shared.rules.calibration import CLIP, p_correct

RUNS = 1_000
ALPHA = 0.10
DELTA = 0.10
ALLOWED = DELTA + 2 * np.sqrt(DELTA * (1 - DELTA) / RUNS)  # .119


def rows(n: int, slope: float, intercept: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = expit(rng.normal(1.5, 1.5, n))
    return score, rng.random(n) < probabilities(score, slope, intercept)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.001, -3.0), (2.5, 4.0)])
def test_what_is_fitted_is_the_mapping_that_the_router_serves_by(
    slope: float, intercept: float
) -> None:
    score = np.concatenate([[0.0, CLIP / 2, CLIP, 1 - CLIP, 1 - CLIP / 2, 1.0], np.linspace(0, 1)])
    served = [p_correct(float(value), slope, intercept) for value in score]
    fitted = expit(slope * log_odds(score) + intercept)
    assert np.allclose(fitted, served, rtol=1e-12, atol=0)
    assert probabilities(score, slope, intercept).tolist() == served


def test_slope_and_intercept_are_recovered() -> None:
    slope, intercept = fit(*rows(5_000, 0.6, -0.5, seed=1))
    assert abs(slope - 0.6) < 0.15 and abs(intercept + 0.5) < 0.15


@pytest.mark.parametrize(("n", "bound"), [(50, 0.067), (100, 0.048), (200, 0.037)])
def test_error_of_the_estimated_probability_is_within_the_table(n: int, bound: float) -> None:
    """RMSE against the truth, within 20 % of docs/methods.md (section 2, world A), averaged over
    60 runs.
    """
    errors = []
    for seed in range(60):
        score, correct = rows(n, 0.8, -0.3, seed)
        found = probabilities(score, *fit(score, correct))
        errors.append(np.sqrt(np.mean((found - probabilities(score, 0.8, -0.3)) ** 2)))
    assert np.mean(errors) <= bound * 1.2


def test_calibration_beats_the_raw_score_on_unseen_rows() -> None:
    score, correct = rows(400, 0.4, -1.0, seed=2)
    assert cross_brier(score, correct) < np.mean((score - correct) ** 2)


def test_under_thirty_rows_nothing_is_trusted() -> None:
    score, correct = rows(29, 1.0, 0.0, seed=3)
    found = calibrate(score, correct, ALPHA)
    assert (found.slope, found.intercept, found.threshold, found.certified, found.coverage) == (
        1.0,
        0.0,
        1.0,
        False,
        0.0,
    )


def test_a_good_adapter_is_trusted_although_it_has_too_few_errors_to_fit_on() -> None:
    score = np.linspace(0.6, 0.999, 85)
    found = calibrate(score, np.arange(85) > 1, ALPHA)
    assert found.certified and found.coverage == 1.0 and found.errors == 2


def test_an_arm_that_is_mostly_wrong_is_not_trusted_on_the_high_scores_it_gives_itself() -> None:
    found = calibrate(np.full(85, 0.98), np.arange(85) < 8, ALPHA)
    assert not found.certified and found.coverage == 0.0


def test_when_nothing_certifies_the_tolerated_risk_is_the_threshold_and_the_flag_says_so() -> None:
    score, correct = rows(40, 1.0, 0.0, seed=4)
    found = calibrate(score, correct, ALPHA)
    assert not found.certified and found.threshold == pytest.approx(0.9)


def test_the_labels_that_are_missing_certify_when_they_have_come() -> None:
    score, correct = rows(60, 1.0, 1.0, seed=5)
    assert calibrate(score, correct, ALPHA).labels_missing not in (0, None)
    missing = labels_missing(score, correct, ALPHA)
    certified = [
        calibrate(*rows(60 + missing, 1.0, 1.0, seed), ALPHA).certified for seed in range(100)
    ]
    assert np.mean(certified) >= 0.6
    assert labels_missing(score, np.zeros(60, dtype=bool), ALPHA) is None


def test_what_reviewers_let_pass_tightens_the_bound() -> None:
    score, correct = np.linspace(0.6, 0.999, 85), np.arange(85) > 1
    assert calibrate(score, correct, ALPHA, missed=0.1).certified
    doubted = calibrate(score, correct, ALPHA, missed=0.6)
    assert doubted.missed == 0.6 and doubted.coverage < 1.0


def test_bound_matches_the_table_of_zero_and_one_error() -> None:
    assert clopper_pearson_upper(0, 22) <= 0.10 < clopper_pearson_upper(0, 21)
    assert clopper_pearson_upper(1, 38) <= 0.10 < clopper_pearson_upper(1, 37)
    assert first_coverage(85, 0.10, 0.10) == pytest.approx(0.45)
    assert first_coverage(20, 0.10, 0.10) == np.inf


# Worlds: the probability to be right at confidence rank u in [0, 1] (1 = most confident).
WORLDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "good": lambda u: 0.6 + 0.4 * u**0.5,
    "bump": lambda u: np.where(u > 0.95, 0.7, np.where(u > 0.6, 0.97, 0.7)),
    "flat at alpha": lambda u: np.full_like(u, 1 - ALPHA - 1e-6),
    "all wrong": np.zeros_like,
}


def violations(rule: Callable[[np.ndarray, np.ndarray], float | None], world: str, n: int) -> float:
    """How often a rule accepts a region whose true error is above alpha."""
    right = WORLDS[world]
    grid = np.linspace(0, 1, 4_001)
    true_error = 1 - right(grid)
    rng = np.random.default_rng(11)
    broken = 0
    for _ in range(RUNS):
        u = rng.random(n)
        threshold = rule(u, rng.random(n) < right(u))
        broken += threshold is not None and true_error[grid >= threshold].mean() > ALPHA
    return broken / RUNS


def naive(p: np.ndarray, correct: np.ndarray) -> float | None:
    """Negative control: the loosest threshold whose error on the sample is at most alpha."""
    order = np.argsort(-p)
    error = np.cumsum(~correct[order]) / np.arange(1, len(p) + 1)
    allowed = np.nonzero(error <= ALPHA)[0]
    return float(p[order][allowed[-1]]) if len(allowed) else None


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("n", [40, 85, 300])
def test_a_certified_threshold_is_violated_at_most_as_often_as_stated(world: str, n: int) -> None:
    assert violations(lambda p, correct: certify(p, correct, ALPHA), world, n) <= ALLOWED


@pytest.mark.parametrize("world", ["good", "flat at alpha"])
def test_the_naive_rule_breaks_its_promise(world: str) -> None:
    assert violations(naive, world, 85) > ALLOWED


def test_ties_are_tested_as_they_are_served() -> None:
    """Half the answers share the highest score; the region is all of them, however small the
    coverage asked for.
    """
    p = np.where(np.arange(100) < 50, 0.99, 0.2)
    correct = np.arange(100) >= 10  # ten of the fifty are wrong
    assert certify(p, correct, ALPHA) is None
    assert logit(0.5) == 0

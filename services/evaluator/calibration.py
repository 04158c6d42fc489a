"""Fits an arm's calibration: P(correct) for each score, and the threshold above which its answers
are trusted (docs/methods.md, sections 2 and 3).

P(correct) is `shared.rules.p_correct`, fitted by MAP-Platt: the prior (slope 1 +- 0.5, intercept
0 +- 1) lets 30 rows do no harm. Measured RMSE against the truth: .067 at 50 labels, .037 at 200.

Under 30 rows nothing is fitted and nothing trusted. Few errors (or few right answers) are no reason
to refuse: the prior regularises exactly that case, and a good adapter would otherwise never be
trusted because it is good.

The threshold is certified by exact binomial tests on a sequence of coverages fixed before the
labels were seen. The slope is kept positive, so the order of the answers is the score's order and
no label has a say in which rows are tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta

from shared.rules import CLIP, p_correct

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LEAST_ROWS = 30
# A certified threshold is wrong in at most one of ten calibrations.
DELTA = 0.10
# Standard deviations of the prior.
SLOPE_SD = 0.5
INTERCEPT_SD = 1.0
LEAST_SLOPE = 1e-3
FOLDS = 5
# The coverages that are tested, as shares of the traffic, fixed in advance.
COVERAGES = np.arange(1, 21) / 20


@dataclass(frozen=True)
class Calibration:
    """How far one arm's confidence can be trusted."""

    slope: float
    intercept: float
    # Answers with P(correct) below it are not trusted; 1 trusts none.
    threshold: float
    certified: bool
    # Share of the rows at or above the threshold.
    coverage: float
    n: int
    errors: int
    brier: float


def calibrate(score: Floats, correct: Bools, max_risk: float) -> Calibration:
    """Fit and certify on the rows an arm answered.

    `max_risk` is the tolerated share of errors among trusted answers.
    """
    n = len(correct)
    errors = int((~correct).sum())
    if n < LEAST_ROWS:
        return Calibration(
            slope=1.0,
            intercept=0.0,
            threshold=1.0,
            certified=False,
            coverage=0.0,
            n=n,
            errors=errors,
            brier=brier(score, correct),
        )
    slope, intercept = fit(score, correct)
    p = probabilities(score, slope, intercept)
    certified = certify(p, correct, max_risk)
    # Where nothing certifies, the owner's tolerated risk itself is the threshold, and the flag says
    # so (docs/decisions/0003-threshold-when-nothing-certifies.md).
    threshold = 1.0 - max_risk if certified is None else certified
    return Calibration(
        slope=slope,
        intercept=intercept,
        threshold=threshold,
        certified=certified is not None,
        coverage=float((p >= threshold).mean()),
        n=n,
        errors=errors,
        brier=cross_brier(score, correct),
    )


def probabilities(score: Floats, slope: float, intercept: float) -> Floats:
    """Return P(correct) of each score, to the last bit as the router will compute it.

    The threshold is one of these numbers, and an answer that ties with it is trusted.
    """
    return np.array([p_correct(float(value), slope, intercept) for value in score], dtype=float)


def log_odds(score: Floats) -> Floats:
    """Return what slope and intercept are applied to; the same as `p_correct` does, for arrays."""
    odds: Floats = logit(np.clip(score, CLIP, 1 - CLIP))
    return odds


def fit(score: Floats, correct: Bools) -> tuple[float, float]:
    """Return the slope and intercept that minimise the log loss plus the prior's penalty."""
    z = log_odds(score)
    y = correct.astype(float)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, intercept = parameters
        u = slope * z + intercept
        penalty = (slope - 1) ** 2 / (2 * SLOPE_SD**2) + intercept**2 / (2 * INTERCEPT_SD**2)
        error = expit(u) - y
        gradient = np.array(
            [error @ z + (slope - 1) / SLOPE_SD**2, error.sum() + intercept / INTERCEPT_SD**2]
        )
        return float(np.sum(np.logaddexp(0, u) - y * u) + penalty), gradient

    found = minimize(
        loss,
        np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(LEAST_SLOPE, None), (None, None)],
    )
    return float(found.x[0]), float(found.x[1])


def clopper_pearson_upper(errors: int, n: int, delta: float = DELTA) -> float:
    """Return the error rate that `errors` in `n` rule out at confidence 1 - delta."""
    return 1.0 if errors >= n else float(beta.ppf(1 - delta, errors + 1, n - errors))


def certify(p: Floats, correct: Bools, max_risk: float, delta: float = DELTA) -> float | None:
    """Return the loosest threshold whose accepted answers are proven wrong at most `max_risk` of
    the time; None if there is none.

    Fixed sequence: coverages from the most confident rows outwards, each tested at `delta`, until
    the first that fails.
    """
    falling = np.sort(p)[::-1]
    passed = None
    for coverage in COVERAGES[first_coverage(len(p), max_risk, delta) <= COVERAGES]:
        threshold = float(falling[int(np.ceil(coverage * len(p))) - 1])
        # Ties with the threshold are accepted in serving, so they are tested too.
        accepted = p >= threshold
        errors = int((~correct[accepted]).sum())
        if clopper_pearson_upper(errors, int(accepted.sum()), delta) > max_risk:
            break
        passed = threshold
    return passed


def first_coverage(n: int, max_risk: float, delta: float = DELTA) -> float:
    """Return the coverage to start with: the first with room for one error, else for none.

    It depends on `n` alone, and is infinite where not even all rows suffice. Starting where a
    single error already ends the sequence would throw good adapters away: at 10 %, 22 rows allow
    none and 38 allow one.
    """
    for allowed in (1, 0):
        for coverage in COVERAGES:
            if clopper_pearson_upper(allowed, int(np.ceil(coverage * n)), delta) <= max_risk:
                return float(coverage)
    return np.inf


def brier(p: Floats, correct: Bools) -> float:
    return float(np.mean((p - correct) ** 2)) if len(p) else 0.0


def cross_brier(score: Floats, correct: Bools) -> float:
    """Return the Brier score by folds, on rows the fit did not see: its own would flatter it."""
    fold = np.arange(len(score)) % FOLDS
    p = np.empty(len(score))
    for k in range(FOLDS):
        slope, intercept = fit(score[fold != k], correct[fold != k])
        p[fold == k] = probabilities(score[fold == k], slope, intercept)
    return brier(p, correct)

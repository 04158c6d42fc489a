"""From a confidence score to P(correct), and to the threshold above which an arm's answers are
trusted.

P(correct) = sigmoid(slope * logit(clip(score)) + intercept), fitted by MAP-Platt: the prior (slope
1 +- 0.5, intercept 0 +- 1) lets 30 rows do no harm; measured RMSE against the truth .067 at 50
labels, .037 at 200 (methods page, section 2).

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
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta

CLIP = 1e-4
LEAST_ROWS = 30
DELTA = 0.10  # a certified threshold is wrong in at most one of ten calibrations
SLOPE_SD = 0.5
INTERCEPT_SD = 1.0
LEAST_SLOPE = 1e-3
FOLDS = 5
COVERAGES = np.arange(1, 21) / 20  # the grid is in shares of the traffic, fixed in advance


@dataclass(frozen=True)
class Calibration:
    """How far one arm's confidence can be trusted. `threshold` 1 trusts none of its answers."""

    slope: float
    intercept: float
    threshold: float
    certified: bool
    coverage: float
    n: int
    errors: int
    brier: float


def calibrate(score: np.ndarray, correct: np.ndarray, max_risk: float) -> Calibration:
    """Fit and certify on the rows an arm answered; `max_risk` is the tolerated error among trusted
    answers.
    """
    n = len(correct)
    errors = int((~correct).sum())
    if n < LEAST_ROWS:
        return Calibration(1.0, 0.0, 1.0, False, 0.0, n, errors, brier(score, correct))
    slope, intercept = fit(score, correct)
    p = p_correct(score, slope, intercept)
    certified = certify(p, correct, max_risk)
    # Nothing certified: the owner's tolerated risk itself, and the flag says so (decision 0003).
    threshold = 1.0 - max_risk if certified is None else certified
    return Calibration(
        slope,
        intercept,
        threshold,
        certified is not None,
        float((p >= threshold).mean()),
        n,
        errors,
        cross_brier(score, correct),
    )


def p_correct(score: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return expit(slope * logit(np.clip(score, CLIP, 1 - CLIP)) + intercept)


def fit(score: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """Slope and intercept that minimise the log loss plus the prior's penalty."""
    z = logit(np.clip(score, CLIP, 1 - CLIP))
    y = correct.astype(float)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
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
    """The error rate that `errors` in `n` rule out at confidence 1 - delta."""
    return 1.0 if errors >= n else float(beta.ppf(1 - delta, errors + 1, n - errors))


def certify(
    p: np.ndarray, correct: np.ndarray, max_risk: float, delta: float = DELTA
) -> float | None:
    """The loosest threshold whose accepted answers are wrong at most `max_risk` of the time,
    proven; None if there is none.

    Fixed sequence: coverages from the most confident rows outwards, each tested at `delta`, until
    the first that fails.
    """
    falling = np.sort(p)[::-1]
    passed = None
    for coverage in COVERAGES[first_coverage(len(p), max_risk, delta) <= COVERAGES]:
        threshold = float(falling[int(np.ceil(coverage * len(p))) - 1])
        accepted = (
            p >= threshold
        )  # ties with the threshold are accepted in serving, so they are tested too
        if (
            clopper_pearson_upper(int((~correct[accepted]).sum()), int(accepted.sum()), delta)
            > max_risk
        ):
            break
        passed = threshold
    return passed


def first_coverage(n: int, max_risk: float, delta: float = DELTA) -> float:
    """Where the sequence starts: the first coverage with room for one error, else for none. Depends
    on `n` alone.

    Starting where a single error already ends the sequence would throw good adapters away: at 10 %,
    22 rows allow none and 38 allow one.
    """
    for allowed in (1, 0):
        for coverage in COVERAGES:
            if clopper_pearson_upper(allowed, int(np.ceil(coverage * n)), delta) <= max_risk:
                return float(coverage)
    return np.inf


def brier(p: np.ndarray, correct: np.ndarray) -> float:
    return float(np.mean((p - correct) ** 2)) if len(p) else 0.0


def cross_brier(score: np.ndarray, correct: np.ndarray) -> float:
    """Brier score of rows the fit did not see, by folds: the same rows would flatter it."""
    fold = np.arange(len(score)) % FOLDS
    p = np.empty(len(score))
    for k in range(FOLDS):
        p[fold == k] = p_correct(score[fold == k], *fit(score[fold != k], correct[fold != k]))
    return brier(p, correct)

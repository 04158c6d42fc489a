"""Fits an arm's calibration: P(correct) for each score, and the threshold above which its answers
are trusted (docs/methods.md, sections 2 and 3).

P(correct) is `shared.rules.p_correct`, fitted by MAP-Platt: the prior (slope 1 +- 0.5, intercept
0 +- 1) lets 30 rows do no harm. Measured RMSE against the truth: .067 at 50 labels, .037 at 200.

Under 30 rows nothing is fitted and nothing trusted. Few errors (or few right answers) are no reason
to refuse: the prior regularises exactly that case, and a good adapter would otherwise never be
trusted because it is good.

The slope is kept positive, so the order of the answers is the score's order and no label has a say
in which rows the certificate (`certificate.py`) is tested on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit

from services.evaluator.certificate import certify, labels_missing
from shared.rules import CLIP, p_correct

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LEAST_ROWS = 30
# Standard deviations of the prior.
SLOPE_SD = 0.5
INTERCEPT_SD = 1.0
LEAST_SLOPE = 1e-3
FOLDS = 5


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
    # Labels that a certificate still needs: 0 where it has one, None where no number would do.
    labels_missing: int | None = None
    # Of the wrong answers, the share that reviewers let pass, at most; None where not measured.
    missed: float | None = None

    def trusts(self, score: Floats, *, best_effort: bool) -> Bools:
        """Say which answers are given without further ado."""
        if not (self.certified or best_effort) or self.threshold >= 1:
            return np.zeros(len(score), dtype=bool)
        trusted: Bools = probabilities(score, self.slope, self.intercept) >= self.threshold
        return trusted


def calibrate(
    score: Floats, correct: Bools, max_risk: float, missed: float | None = None
) -> Calibration:
    """Fit and certify on the rows an arm answered.

    `max_risk` is the tolerated share of errors among trusted answers. Of the wrong ones `missed`
    were called right at most, so that fewer may be seen.
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
            missed=missed,
        )
    slope, intercept = fit(score, correct)
    p = probabilities(score, slope, intercept)
    seen_risk = allowed(max_risk, missed)
    certified = certify(p, correct, seen_risk)
    # Where nothing certifies, the owner's tolerated risk itself is the threshold, the flag says so,
    # and only routes trust it that ask for no more (docs/decisions/0039-what-the-gate-promises.md).
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
        labels_missing=0 if certified is not None else labels_missing(p, correct, seen_risk),
        missed=missed,
    )


def allowed(max_risk: float, missed: float | None) -> float:
    """Return the share of errors that may be seen among trusted answers."""
    return max_risk * (1 - (missed or 0.0))


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

"""How often is what a route answers right? An estimate from all verdicts, by the probabilities with
which their answers were chosen, and from P(correct) of all answers (docs/methods.md, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from schemas.base import Confidence

# Two-sided level of the intervals.
CONFIDENCE = 0.95
# Verdicts under which nothing is estimated.
LEAST_VERDICTS = 10
# What is predicted of an answer that says nothing of its confidence.
UNKNOWN = 0.5
# Predictions are summed as whole millionths, so that the sums depend on no order.
MILLION = 1_000_000


@dataclass(frozen=True)
class Answered:
    """Answers that were given, and the sums over them of what was predicted and of its square, in
    millionths.
    """

    answers: int = 0
    predicted: int = 0
    squared: int = 0

    def __add__(self, other: Answered) -> Answered:
        return Answered(
            self.answers + other.answers,
            self.predicted + other.predicted,
            self.squared + other.squared,
        )


@dataclass(frozen=True)
class Judged:
    """A verdict on an answer: what was predicted of it, and the probability of its review."""

    right: bool
    predicted: float
    probability: float


@dataclass(frozen=True)
class Estimate:
    """The share of right answers, with its interval of 95 %."""

    accuracy: float
    low: float
    high: float
    answers: int
    verdicts: int


def predicted(confidence: Confidence | None) -> float:
    """Return P(correct) of an answer, or its score where nothing was calibrated."""
    if confidence is None:
        return UNKNOWN
    return confidence.score if confidence.p_correct is None else confidence.p_correct


def tallied(prediction: float) -> Answered:
    """Return the sums over a single answer."""
    return Answered(1, round(prediction * MILLION), round(prediction**2 * MILLION))


def estimate(answered: Answered, verdicts: Sequence[Judged]) -> Estimate | None:
    """Return the accuracy of the answers; None where there are too few verdicts to say.

    The mean prediction is corrected by what the verdicts say of the predictions, weighted by
    1/probability (AIPW). Weights are divided by their sum, so that verdicts which are still to come
    are taken to be like those that came. The interval counts one right and one wrong answer more:
    without them it is too short where hardly any verdict says wrong.
    """
    if len(verdicts) < LEAST_VERDICTS or not answered.answers:
        return None
    right = np.array([verdict.right for verdict in verdicts], dtype=float)
    said = np.array([verdict.predicted for verdict in verdicts])
    weight = 1 / np.array([verdict.probability for verdict in verdicts])
    n = answered.answers
    mean = answered.predicted / MILLION / n
    spread = answered.squared / MILLION - n * mean**2
    error = right - said
    more = weight.mean()
    total = weight.sum() + 2 * more
    shift = ((weight * error).sum() + more * (1 - 2 * mean)) / total
    # How much an answer that was reviewed moves the estimate, beside its prediction.
    moved = weight * (error - shift) * n / total
    added = (more * n / total) ** 2 * ((1 - mean - shift) ** 2 + (mean + shift) ** 2)
    variance = spread + 2 * ((said - mean) * moved).sum() + (moved**2).sum() + added
    half = t.ppf((1 + CONFIDENCE) / 2, len(verdicts) - 1) * np.sqrt(max(variance, 0.0)) / n
    return Estimate(
        accuracy=bounded(mean + (weight * error).sum() / weight.sum()),
        low=bounded(mean + shift - half),
        high=bounded(mean + shift + half),
        answers=n,
        verdicts=len(verdicts),
    )


def bounded(share: float) -> float:
    return float(min(1.0, max(0.0, share)))


def rise(before: Sequence[Judged], now: Sequence[Judged], level: float) -> tuple[float, bool]:
    """Return the share of wrong answers now, and whether it is proven to be larger than before.

    A one-sided test of two shares with one right and one wrong answer added to each (Agresti, Caffo
    2000); verdicts count by 1/probability, and as many as they are worth.
    """
    (share, n), (earlier, m) = worth(now), worth(before)
    variance = share * (1 - share) / n + earlier * (1 - earlier) / m
    proven = bool((share - earlier) / np.sqrt(variance) >= norm.ppf(1 - level))
    return 1 - float(np.mean([verdict.right for verdict in now])) if now else 0.0, proven


def worth(verdicts: Sequence[Judged]) -> tuple[float, float]:
    """Return the share of wrong answers, with one of each kind added, and of how many equally
    probable verdicts it is worth (Kish 1965).
    """
    if not verdicts:
        return 0.5, 2.0
    weight = np.array([1 / verdict.probability for verdict in verdicts])
    wrong = np.array([not verdict.right for verdict in verdicts])
    n = float(weight.sum() ** 2 / (weight**2).sum())
    return float((n * (weight * wrong).sum() / weight.sum() + 1) / (n + 2)), n + 2

"""What a certified threshold promises: how often more of the trusted answers are wrong than is
tolerated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit, logit

from services.evaluator.calibration import Calibration, calibrate
from services.evaluator.certificate import DELTA, HALF, certify, first_coverage, sequence
from services.evaluator.findings import calibrations_of
from services.evaluator.gates import Terms, judge_challenger
from services.evaluator.spending import level
from tests.simulations.arms import MAX_RISK, STRICT, Bools, Floats, answers, outcomes
from tests.simulations.promise import Measured, Promise

# Traffic on which the truth of a threshold is read off.
MANY = 4_000

Arm = Callable[[int, np.random.Generator], tuple[Floats, Floats]]
"""Draws the scores of so many answers, and P(right) of each."""


def logistic(slope: float, intercept: float) -> Arm:
    """Return an arm whose scores are distorted along a line in log-odds."""

    def draw(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        score = expit(rng.normal(2.0, 1.5, n))
        return score, expit(slope * logit(score) + intercept)

    return draw


def bump(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw an arm of which the surest few answers are not the best ones."""
    score = rng.random(n)
    return score, np.where(score > 0.97, 0.7, np.where(score > 0.4, 0.98, 0.6))


def flat(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw an arm whose score says nothing, and which is wrong a little more than is tolerated."""
    return rng.random(n), np.full(n, 1 - MAX_RISK - 0.005)


ARMS: dict[str, Arm] = {
    "sharp": logistic(1.0, 0.3),
    "blunt": logistic(0.5, 0.3),
    "surest not best": bump,
    "score says nothing": flat,
}


def is_violated(found: Calibration, score: Floats, right: Floats) -> bool:
    """Say whether more of what is trusted is wrong than is tolerated, on all the traffic."""
    trusted = found.trusts(score, best_effort=False)
    return bool(trusted.any()) and float(1 - right[trusted].mean()) > MAX_RISK


def naive(p: Floats, correct: Bools) -> float | None:
    """Return the loosest threshold whose share of errors on the sample is tolerated."""
    order = np.argsort(-p)
    error = np.cumsum(~correct[order]) / np.arange(1, len(p) + 1)
    allowed = np.nonzero(error <= MAX_RISK)[0]
    return float(p[order][allowed[-1]]) if len(allowed) else None


def certificates(runs: int, rng: np.random.Generator) -> list[Measured]:
    found = []
    for name, arm in ARMS.items():
        score, right = arm(MANY, rng)
        for n in (85, 300):
            hits = 0
            for _ in range(runs):
                seen, p = arm(n, rng)
                hits += is_violated(calibrate(seen, rng.random(n) < p, MAX_RISK), score, right)
            found.append(Measured(f"{name}, {n} rows", hits, runs))
    return found


def naive_thresholds(runs: int, rng: np.random.Generator) -> list[Measured]:
    found = []
    for name in ("sharp", "score says nothing"):
        score, right = ARMS[name](MANY, rng)
        hits = 0
        for _ in range(runs):
            seen, p = ARMS[name](85, rng)
            threshold = naive(seen, rng.random(85) < p)
            trusted = score >= (2.0 if threshold is None else threshold)
            hits += bool(trusted.any()) and float(1 - right[trusted].mean()) > MAX_RISK
        found.append(Measured(f"{name}, 85 rows", hits, runs))
    return found


def of_promoted(
    runs: int, rng: np.random.Generator, trusts: Callable[[Calibration, Floats], Bools]
) -> list[Measured]:
    """Measure adapters that were promoted for what they did on these very rows, each wrong a little
    more often than is tolerated.
    """
    score, right = flat(MANY, rng)
    terms = Terms(level([]))
    found = []
    for n in (85, 200, 400):
        hits = promotions = 0
        while promotions < runs:
            seen, p = flat(n, rng)
            correct = rng.random(n) < p
            base = outcomes("base", rng.random(n) < 0.75)
            if judge_challenger(outcomes("challenger", correct), [base], terms).promote:
                promotions += 1
                trusted = trusts(calibrate(seen, correct, MAX_RISK), score)
                hits += bool(trusted.any()) and float(1 - right[trusted].mean()) > MAX_RISK
        found.append(Measured(f"promoted on the same {n} rows", hits, promotions))
    return found


def certified_and_promoted(runs: int, rng: np.random.Generator) -> list[Measured]:
    return of_promoted(runs, rng, lambda found, score: found.trusts(score, best_effort=False))


def uncertified_and_promoted(runs: int, rng: np.random.Generator) -> list[Measured]:
    return of_promoted(runs, rng, lambda found, score: found.trusts(score, best_effort=True))


def fits_no_label(runs: int, rng: np.random.Generator, counted: bool) -> list[Measured]:
    """Measure an adapter for a share of whose traffic no label is right."""
    found = []
    arm = logistic(1.0, 0.8)
    for share in (0.05, 0.10):
        score, right = arm(MANY, rng)
        right = np.where(rng.random(MANY) < share, 0.0, right)
        hits = 0
        for _ in range(runs):
            seen, p = arm(300, rng)
            fits = rng.random(300) >= share
            correct = (rng.random(300) < p) & fits
            rows = np.ones(300, dtype=bool) if counted else fits
            hits += is_violated(calibrate(seen[rows], correct[rows], MAX_RISK), score, right)
        found.append(Measured(f"{share:.0%} of the traffic fits no label", hits, runs))
    return found


def rejected_is_wrong(runs: int, rng: np.random.Generator) -> list[Measured]:
    return fits_no_label(runs, rng, counted=True)


def rejected_is_left_out(runs: int, rng: np.random.Generator) -> list[Measured]:
    return fits_no_label(runs, rng, counted=False)


def fallen_back(runs: int, rng: np.random.Generator, behind: bool) -> list[Measured]:
    """Measure the answers that a base model gives where an adapter was not trusted: both find the
    same questions hard.
    """

    def draw(n: int) -> tuple[Floats, Floats, Floats, Floats]:
        ease = rng.normal(1.5, 1.5, n)
        score, base_score = (expit(ease + rng.normal(0, 1.0, n)) for _ in range(2))
        return score, expit(ease + 0.8), base_score, expit(ease)

    score, right, base_score, base_right = draw(MANY)
    fallen = both = 0
    for _ in range(runs):
        seen, p, base_seen, base_p = draw(500)
        found = calibrations_of(
            [
                answers(None, "base", base_seen, rng.random(500) < base_p),
                answers("new", "challenger", seen, rng.random(500) < p),
            ],
            STRICT,
            None,
        )
        first, adapter, second = (one.calibration for one in found)
        trusted = adapter.trusts(score, best_effort=False)
        base = (second if behind else first).trusts(base_score, best_effort=False) & ~trusted
        fallen += bool(base.any()) and float(1 - base_right[base].mean()) > MAX_RISK
        wrong = (1 - right[trusted]).sum() + (1 - base_right[base]).sum()
        both += bool((trusted | base).any()) and wrong > MAX_RISK * (trusted | base).sum()
    return [
        Measured("answers of the base model behind an adapter, 500 rows", fallen, runs),
        Measured("these and the adapter's together", both, runs),
    ]


def base_behind(runs: int, rng: np.random.Generator) -> list[Measured]:
    return fallen_back(runs, rng, behind=True)


def base_on_all_rows(runs: int, rng: np.random.Generator) -> list[Measured]:
    return fallen_back(runs, rng, behind=False)[:1]


def stays_certified(
    runs: int, rng: np.random.Generator, rule: Callable[[Floats, Bools], float | None]
) -> list[Measured]:
    found = []
    for n in (500, 1000):
        hits = 0
        for _ in range(runs):
            seen, p = bump(n, rng)
            hits += rule(seen, rng.random(n) < p) is not None
        found.append(Measured(f"surest not best, {n} rows", hits, runs))
    return found


def three_starts(runs: int, rng: np.random.Generator) -> list[Measured]:
    return stays_certified(runs, rng, lambda p, correct: certify(p, correct, MAX_RISK))


def one_start(runs: int, rng: np.random.Generator) -> list[Measured]:
    def rule(p: Floats, correct: Bools) -> float | None:
        return sequence(p, correct, MAX_RISK, HALF, first_coverage(len(p), MAX_RISK, HALF))

    return stays_certified(runs, rng, rule)


PROMISES = (
    Promise(
        name="certificates",
        statement="A certified threshold lets more wrong answers pass than `max_risk` in at most"
        " one of ten calibrations.",
        level=DELTA,
        side="at most",
        simulate=certificates,
        control=naive_thresholds,
        instead="the loosest threshold with a tolerated share of errors on the sample",
        short=20,
    ),
    Promise(
        name="certificates-of-the-promoted",
        statement="Also of an adapter that was promoted for these very rows.",
        level=DELTA,
        side="at most",
        simulate=certified_and_promoted,
        control=uncertified_and_promoted,
        instead="the threshold 1 - max_risk, uncertified",
        short=30,
    ),
    Promise(
        name="fits-no-label",
        statement="Also where a share of the traffic fits no label: a rejected answer is wrong.",
        level=DELTA,
        side="at most",
        simulate=rejected_is_wrong,
        control=rejected_is_left_out,
        instead="rejected answers are left out",
        short=30,
    ),
    Promise(
        name="fallen-back",
        statement="Also of what the base model answers behind an adapter, and of both together.",
        level=DELTA,
        side="at most",
        simulate=base_behind,
        control=base_on_all_rows,
        instead="the base model is certified on all rows",
        short=20,
    ),
    Promise(
        name="stays-certified",
        statement="Where the surest answers are not the best ones, more rows take no certificate"
        " away: at least nine of ten have one.",
        level=0.9,
        side="at least",
        simulate=three_starts,
        control=one_start,
        instead="one sequence from the surest answers outwards",
        short=30,
    ),
)

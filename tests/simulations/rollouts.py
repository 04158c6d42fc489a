"""What the router promises of challengers and champions (docs/methods.md, section 6), and of strict
thresholds (section 3).

Every verdict is the router's own: `CanaryRule.verdict`, `compare`, `FailureWatch`, `is_confident`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from scipy.special import expit
from scipy.stats import binom, norm

from schemas.base import Confidence
from schemas.events import CalibrationFitted
from schemas.route import Guarantee
from services.evaluator.calibration import calibrate
from services.router.confidence import calibrated, is_confident
from services.router.evidence import (
    EVIDENCE,
    ROLLBACK_EVIDENCE,
    Audited,
    Comparison,
    FailureWatch,
    compare,
    failure_evidence,
)
from services.router.rollout import CanaryRule, Seen
from tests import factories
from tests.simulations.promise import Measured, Promise

SECONDS_PER_MINUTE, SECONDS_PER_DAY = 60.0, 86_400.0
# The defaults of ROUTER_CANARY_SHARE, _REQUESTS and _SECONDS.
RULE = CanaryRule(share=0.2, requests=20, seconds=30.0)
Generator = np.random.Generator


# An adapter whose every answer is malformed


def by_rule(asked: int, failed: int, elapsed: float) -> str:
    return RULE.verdict(Seen(asked, failed, elapsed), "wait").move


def by_timer(asked: int, failed: int, elapsed: float) -> str:
    """The rule of earlier releases: it ends after so many answers or so long."""
    if failure_evidence(asked, failed) >= EVIDENCE:
        return "retract"
    if asked < RULE.requests and elapsed < RULE.seconds:
        return "wait"
    return "retract" if asked and failed == asked and asked >= RULE.requests else "promote"


def is_promoted(
    move: Callable[[int, int, float], str], gaps: Iterator[float], malformed: float, rng: Generator
) -> bool:
    """Follow a canary from answer to answer; between two it is looked at when its time is over."""
    asked = failed = 0
    elapsed = 0.0
    while True:
        following = elapsed + next(gaps)
        looks = [RULE.seconds] if elapsed < RULE.seconds <= following else []
        for at in looks:
            if (moved := move(asked, failed, at)) != "wait":
                return moved == "promote"
        elapsed, asked = following, asked + 1
        failed += bool(rng.random() < malformed)
        if (moved := move(asked, failed, elapsed)) != "wait":
            return moved == "promote"


def exponential(mean: float, rng: Generator) -> Iterator[float]:
    while True:
        yield rng.exponential(mean)


def malformed_canaries(
    move: Callable[[int, int, float], str], runs: int, rng: Generator
) -> list[Measured]:
    found = []
    for a_minute in (10, 1):
        mean = SECONDS_PER_MINUTE / (a_minute * RULE.share)
        gaps = exponential(mean, rng)
        hits = sum(is_promoted(move, gaps, 1.0, rng) for _ in range(runs))
        found.append(Measured(f"{a_minute} requests a minute, all malformed", hits, runs))
    return found


# A champion that begins to break the form

GOOD, SUSPECT = 1000, 200


def is_found(evidence: Callable[[int, int, int], float], rng: Generator) -> bool:
    """Say whether half of SUSPECT answers malformed are found, after many good ones."""
    failed = 0
    for answered in range(1, SUSPECT + 1):
        bad = bool(rng.random() < 0.5)
        failed += bad
        if evidence(answered, failed, bad) >= ROLLBACK_EVIDENCE:
            return True
    return False


def watched() -> Callable[[int, int, int], float]:
    watch = FailureWatch()
    for _ in range(GOOD):
        watch = watch.seen(100, 1)

    def evidence(_answered: int, _failed: int, bad: int) -> float:
        nonlocal watch
        watch = watch.seen(1, bad)
        return watch.evidence

    return evidence


def from_the_start() -> Callable[[int, int, int], float]:
    """One test of all answers since the promotion."""
    return lambda answered, failed, _bad: failure_evidence(100 * GOOD + answered, GOOD + failed)


def breaking_champions(
    make: Callable[[], Callable[[int, int, int], float]], runs: int, rng: Generator
) -> list[Measured]:
    hits = sum(is_found(make(), rng) for _ in range(runs))
    return [Measured("half of the answers malformed after 100,000 good ones", hits, runs)]


def healthy_champions(
    step: Callable[[FailureWatch, int, int], FailureWatch], runs: int, rng: Generator
) -> list[Measured]:
    """Let champions that fail in as many answers as is tolerated serve for 2,000 looks."""
    hits = 0
    for _ in range(runs):
        watch = FailureWatch()
        for failed in rng.binomial(20, 0.05, 2000).tolist():
            watch = step(watch, 20, failed)
            if watch.evidence >= ROLLBACK_EVIDENCE:
                hits += 1
                break
    return [Measured("5 % of the answers fail, 2,000 looks", hits, runs)]


def unweighted(watch: FailureWatch, answered: int, failed: int) -> FailureWatch:
    """Begin a test of weight 1 at each look, as a Shiryaev-Roberts statistic does."""
    begun = 1 / ((watch.looks + 1) * (watch.looks + 2))
    sums = tuple(value + 1 - begun for value in watch.sums)
    return FailureWatch(watch.looks, sums).seen(answered, failed)


# Audited answers: an adapter that is as good, and ones that are worse

LABELS = 200
STOCK = 200


def audited_life(wrong: float, rng: Generator) -> tuple[list[Audited], list[Audited], float]:
    """Draw what reviewers say of an adapter and of what it replaces, which err alike.

    An audited question comes every quarter of an hour and is decided within a day; the canary ends
    after the 100th.
    """
    count = 100 + LABELS
    asked = np.cumsum(rng.exponential(900.0, count))
    said = asked + rng.exponential(SECONDS_PER_DAY / 4, count)
    is_new = (rng.random(count) < RULE.share) | (np.arange(count) >= 100)
    right = rng.random(count) >= wrong
    columns = asked.tolist(), said.tolist(), right.tolist()
    rows = [Audited(*row) for row in zip(*columns, strict=True)]
    old = [row for row, new in zip(rows, is_new, strict=True) if not new]
    before = rng.random(STOCK) >= wrong
    old += [Audited(-1.0 - n, 0.0, bool(one)) for n, one in enumerate(before)]
    return [row for row, new in zip(rows, is_new, strict=True) if new], old, float(asked[100])


def by_evidence(compared: Comparison) -> bool:
    return compared.evidence >= EVIDENCE


def by_fixed_level(compared: Comparison) -> bool:
    """A test of level 5 % that is done again at each verdict."""
    unequal = compared.wins + compared.losses
    return bool(binom.sf(compared.losses - 1, unequal, 0.5) <= 0.05)


def is_sent_away(stops: Callable[[Comparison], bool], wrong: float, rng: Generator) -> bool:
    new, old, promoted = audited_life(wrong, rng)
    seen = Comparison()
    for now in sorted(one.said_at for one in new):
        ended = promoted if now >= promoted else None
        known = [one for one in old if one.said_at <= now]
        compared = compare([one for one in new if one.said_at <= now], known, 0.0, ended)
        if compared != seen and stops(compared):
            return True
        seen = compared
    return False


def equal_adapters(
    stops: Callable[[Comparison], bool], worlds: Sequence[float], runs: int, rng: Generator
) -> list[Measured]:
    return [
        Measured(
            f"as good as what it replaces, {wrong:.0%} wrong, {LABELS} verdicts",
            sum(is_sent_away(stops, wrong, rng) for _ in range(runs)),
            runs,
        )
        for wrong in worlds
    ]


# Of answers that are wrong, in points more than the 15 % of what it replaced, and the audited
# verdicts within which that is to be found.
WORSE = ((0.05, 2000), (0.10, 500), (0.20, 150))
BEFORE = 0.15


def verdicts_until_found(more: float, most: int, rng: Generator) -> int | None:
    """Return how many audited verdicts pass before an adapter that is worse is rolled back."""
    new = rng.random(most) >= BEFORE + more
    old = rng.random(most) >= BEFORE
    wins, losses = counted(new, old)
    for number in np.flatnonzero(new != old).tolist():
        if Comparison(wins[number], losses[number]).evidence >= ROLLBACK_EVIDENCE:
            return int(number) + 1
    return None


def counted(new: np.ndarray, old: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the wins and losses after each verdict, as `compare` counts them after the promotion:
    tests/simulations/test_twins.py proves it.
    """
    return np.cumsum(new & ~old).tolist(), np.cumsum(old & ~new).tolist()


def worse_adapters(most: int | None, runs: int, rng: Generator) -> list[Measured]:
    return [
        Measured(
            f"{more:.0%} more wrong, {within} verdicts",
            sum(verdicts_until_found(more, most or within, rng) is not None for _ in range(runs)),
            runs,
        )
        for more, within in WORSE
    ]


# Strict thresholds

MAX_RISK = 0.05
TRAFFIC = 100


def hard_truth(score: np.ndarray) -> np.ndarray:
    """Return P(correct) where the surest answers are right in 94 %, whatever their score says."""
    return np.minimum(score, 0.94)


def is_violated(guarantee: Guarantee, labels: int, rng: Generator) -> bool:
    """Calibrate on so many labels, and say whether too many of the answers that are then trusted
    are wrong.
    """
    score = expit(rng.normal(2.5, 1.5, labels))
    fit = calibrate(score, rng.random(labels) < hard_truth(score), MAX_RISK)
    event: CalibrationFitted = factories.calibration(
        slope=fit.slope,
        intercept=fit.intercept,
        threshold=fit.threshold,
        certified=fit.certified,
    )
    # Even quantiles of the traffic, in place of a draw.
    asked = expit(2.5 + 1.5 * normal_quantiles(TRAFFIC))
    trusted = [
        is_confident(calibrated(confidence(one), event), guarantee) for one in asked.tolist()
    ]
    risk = 1 - hard_truth(asked[trusted])
    return bool(len(risk) and risk.mean() > MAX_RISK)


def normal_quantiles(count: int) -> np.ndarray:
    return np.asarray(norm.ppf((np.arange(count) + 0.5) / count))


def confidence(score: float) -> Confidence:
    return Confidence(score=score, min_logprob=-0.1, first_margin=1.0, tokens=1)


def uncertified_thresholds(guarantee: Guarantee, runs: int, rng: Generator) -> list[Measured]:
    return [
        Measured(
            f"{labels} verdicts, the surest answers are right in 94 %",
            sum(is_violated(guarantee, labels, rng) for _ in range(runs)),
            runs,
        )
        for labels in (30, 60, 100)
    ]


PROMISES = (
    Promise(
        name="canary-malformed",
        statement="An adapter whose every answer is malformed is promoted in at most 5 % of its"
        " canaries, however few requests come.",
        level=0.05,
        side="at most",
        simulate=partial(malformed_canaries, by_rule),
        control=partial(malformed_canaries, by_timer),
        instead="a canary ends after 20 answers or 30 s",
    ),
    Promise(
        name="champion-breaks",
        statement="A champion that begins to break the form in half of its answers is rolled back"
        " within 200 of them in at least 95 %, however long it served well.",
        level=0.95,
        side="at least",
        simulate=partial(breaking_champions, watched),
        control=partial(breaking_champions, from_the_start),
        instead="one test of all answers since the promotion",
        short=50,
    ),
    Promise(
        name="champion-healthy",
        statement="At most 5 % of the champions that fail in as many answers as is tolerated are"
        " ever rolled back for it.",
        level=0.05,
        side="at most",
        simulate=partial(healthy_champions, FailureWatch.seen),
        control=partial(healthy_champions, unweighted),
        instead="a new test at each look, all of weight 1",
        short=50,
    ),
    Promise(
        name="rollback-false",
        statement="At most 5 % of the adapters that are as good as what they replace are ever"
        " retracted or rolled back by audited answers, looked at after each of them.",
        level=0.05,
        side="at most",
        simulate=partial(equal_adapters, by_evidence, (0.05, 0.2, 0.4)),
        control=partial(equal_adapters, by_fixed_level, (0.4,)),
        instead="a test of level 5 % done again at each verdict",
        short=100,
    ),
    Promise(
        name="rollback-finds",
        statement="An adapter that is wrong in 5, 10 or 20 points more answers than the 15 % of"
        " what it replaced is rolled back within 2,000, 500 or 150 audited verdicts in at least"
        " 80 %.",
        level=0.8,
        side="at least",
        simulate=partial(worse_adapters, None),
        control=partial(worse_adapters, RULE.requests),
        instead="no look after the 20 answers of a canary",
        short=100,
    ),
    Promise(
        name="strict-thresholds",
        statement="On a strict route at most 10 % of the calibrations let more answers through"
        " that are wrong than max_risk tolerates.",
        level=0.10,
        side="at most",
        simulate=partial(uncertified_thresholds, "strict"),
        control=partial(uncertified_thresholds, "best-effort"),
        instead="best-effort: 1 - max_risk is the threshold where none is certified",
        short=30,
    ),
)

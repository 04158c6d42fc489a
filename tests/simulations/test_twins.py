"""Where a simulation counts by itself what the product counts one by one, both say the same of
10,000 random inputs.
"""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

from schemas.route import ReviewRule
from services.evaluator.calibration import Calibration
from services.evaluator.monitor import BLOCK, ErrorDetector
from services.review.sampling import sample
from services.review.store.queue import next_of
from services.router.confidence import calibrated, is_confident
from services.router.evidence import Audited, compare
from tests import factories
from tests.simulations.error_monitors import (
    FIRST_LABELS,
    NEVER,
    RUN_LENGTH,
    over_the_bar,
    over_the_first,
)
from tests.simulations.live_accuracy import World, inclusion
from tests.simulations.reviewers import TICK, Desk
from tests.simulations.rollouts import confidence, counted

INPUTS = 10_000
STREAMS = 200


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261127)


@pytest.mark.parametrize("bar", [0.2, None])
def test_streams_side_by_side_raise_the_alarms_of_one_detector_each(
    bar: float | None, rng: np.random.Generator
) -> None:
    """10,000 blocks of labels, against what is tolerated and against the rate at first."""
    n = INPUTS // STREAMS * BLOCK
    grown = np.where(np.arange(n) < FIRST_LABELS, 1.0, 1.5)
    wrong = rng.random((n, STREAMS)) < 0.4 * rng.random(STREAMS) * grown[:, None]
    found = over_the_first(wrong, 0.0) if bar is None else over_the_bar(wrong, bar)
    learned = FIRST_LABELS if bar is None else 0
    for stream in range(STREAMS):
        detector = ErrorDetector(bar, RUN_LENGTH)
        after = NEVER
        for number, label in enumerate(wrong[:, stream].tolist(), start=1):
            detector = detector.update(label)
            after = min(after, number - learned) if detector.fired else after
        assert after == found[stream]
    assert 0.1 < (found < NEVER).mean() < 0.9


def test_reviews_are_drawn_as_review_draws_them(rng: np.random.Generator) -> None:
    world = World("x", INPUTS, 0.9, 1, rate=0.1, unsure_rate=0.7)
    rule = ReviewRule(rate=world.rate, unsure_rate=world.unsure_rate, audit_rate=0.04)
    coin, unsure, complaint = rng.random(INPUTS), *(rng.random((2, INPUTS)) < 0.3)
    ours = inclusion(world, unsure, complaint)
    for each in range(INPUTS):
        theirs = sample(
            float(coin[each]), rule, unsure=bool(unsure[each]), complaint=bool(complaint[each])
        )
        assert theirs.probability == ours[each]
        assert theirs.sampled == (coin[each] < ours[each])


def test_verdicts_are_counted_as_the_router_counts_them(rng: np.random.Generator) -> None:
    """Each verdict on the new adapter meets the newest of those before the canary that is left."""
    for _ in range(INPUTS):
        n = int(rng.integers(1, 30))
        new, old = rng.random((2, n)) < rng.random()
        ours = [Audited(2.0 + k, 3.0 + k, bool(right)) for k, right in enumerate(new)]
        theirs = [Audited(-1.0 - k, 0.0, bool(right)) for k, right in enumerate(old)]
        seen = int(rng.integers(1, n + 1))
        found = compare(ours[:seen], theirs, began=0.0, promoted=1.0)
        wins, losses = counted(new, old)
        assert (found.wins, found.losses) == (wins[seen - 1], losses[seen - 1])


def test_a_simulated_reviewer_gets_what_the_queue_gives(rng: np.random.Generator) -> None:
    for _ in range(INPUTS):
        places = rng.choice(30, 2, replace=False).tolist()
        back_at, now = (rng.integers(0, 40, 2) * TICK / 2).tolist()
        line = places[: int(rng.integers(0, 2))]
        skipped = [(back_at, places[1])] if rng.random() < 0.7 else []
        desk = Desk(deque(line), list(skipped))
        fresh = [SimpleNamespace(item=one, rank=2, queued_at=one * TICK, now=now) for one in line]
        back = [SimpleNamespace(item=one, rank=2, back_at=at, now=now) for at, one in skipped]
        row = next_of(*(some[0] if some else None for some in (fresh, back)))  # type: ignore[arg-type]
        expected = row.item if row else None  # type: ignore[attr-defined]
        assert desk.take(np.zeros(30, dtype=bool), now) == expected


def test_the_evaluator_trusts_what_the_router_trusts(rng: np.random.Generator) -> None:
    """Also answers that tie with the threshold, which is one of their numbers."""
    for _ in range(INPUTS // 100):
        score = rng.random(100)
        fitted = Calibration(
            slope=float(rng.gamma(2.0, 0.5)),
            intercept=float(rng.normal()),
            threshold=1.0,
            certified=bool(rng.random() < 0.5),
            coverage=0.5,
            n=100,
            errors=1,
            brier=0.1,
        )
        event = factories.calibration(slope=fitted.slope, intercept=fitted.intercept)
        sure = [calibrated(confidence(one), event) for one in score.tolist()]
        threshold = sure[int(rng.integers(100))].p_correct
        assert threshold is not None
        change = {"threshold": threshold, "certified": fitted.certified}
        tied = Calibration(**{**vars(fitted), "threshold": threshold})
        for guarantee in ("strict", "best-effort"):
            routed = [is_confident(one.model_copy(update=change), guarantee) for one in sure]
            assert tied.trusts(score, best_effort=guarantee == "best-effort").tolist() == routed

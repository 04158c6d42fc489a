"""Live accuracy, from the streams to what people see: each verdict by the probability that acted,
none that was withdrawn, and nothing of the time before answers were counted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from services.evaluator.accuracy import Answered, Judged, estimate, rise, tallied
from services.evaluator.gauges import Gauges, show
from services.evaluator.store.answered import LiveAccuracy
from tests import factories
from tests.unit.evaluator.test_watch import CHAMPION, promote, world  # noqa: F401 - a fixture
from tests.unit.evaluator.worlds import handlers

NOW = datetime(2026, 3, 30, 12, tzinfo=UTC)


async def answer(world: SimpleNamespace, days_ago: float = 1, **changes) -> None:  # noqa: F811
    event = factories.inference(
        **{
            "occurred_at": NOW - timedelta(days=days_ago),
            "confidence": factories.confidence(score=0.5, p_correct=0.8),
        }
        | changes
    )
    async with world.db.transaction() as tx:
        await handlers(world).on_inference_recorded(tx, event)


async def verdict(world: SimpleNamespace, right: bool, **changes) -> None:  # noqa: F811
    event = factories.review(
        **{
            "verdict": "approved" if right else "corrected",
            "asked_at": NOW - timedelta(days=1),
            "probability": 0.5,
            "confidence": factories.confidence(score=0.5, p_correct=0.8),
        }
        | changes
    )
    async with world.db.transaction() as tx:
        await handlers(world).on_review_completed(tx, event)


async def told(world: SimpleNamespace) -> list[LiveAccuracy]:  # noqa: F811
    async with world.db.read() as connection:
        return await world.answered.accuracy(connection, factories.ROUTE, NOW.timestamp())


async def test_each_arm_and_the_route_have_an_estimate_of_their_own(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    await promote(world)
    champion = {"arm": "champion", "adapter_id": CHAMPION.adapter_id}
    for _ in range(40):
        await answer(world)
        await answer(world, **champion)
    for number in range(20):
        await verdict(world, right=number < 10)
        await verdict(world, right=True, **champion)
    route, base, adapter = await told(world)
    assert (route.arm, base.arm, adapter.arm) == ("all", "base", "champion")
    assert (base.answers, base.verdicts, adapter.adapter_id) == (40, 20, CHAMPION.adapter_id)
    assert base.estimate is not None and adapter.estimate is not None and route.estimate is not None
    assert base.estimate.accuracy == pytest.approx(0.5)
    assert adapter.estimate.accuracy == pytest.approx(1.0)
    assert route.estimate.accuracy == pytest.approx(0.75)
    assert base.estimate.low < 0.5 < base.estimate.high < adapter.estimate.low


async def test_withdrawn_verdicts_and_those_on_uncounted_answers_are_out(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    await promote(world)
    for _ in range(30):
        await answer(world)
    for number in range(12):
        await verdict(world, right=True, review_id=f"review-{number:03}")
    await verdict(world, right=False, review_id="review-000", withdrawn=True)
    await verdict(world, right=False, asked_at=NOW - timedelta(days=3))
    await verdict(world, right=False, asked_at=None)
    (route, _) = await told(world)
    assert (route.verdicts, route.estimate and route.estimate.accuracy) == (11, 1.0)


async def test_a_verdict_that_is_said_again_counts_by_the_probability_that_acted(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    """Ten wrong ones, of which users complained, weigh 1; ten right ones weigh 10."""
    await promote(world)
    for _ in range(110):
        await answer(world)
    for number in range(10):
        said = {"review_id": f"complaint-{number}", "probability": 0.1, "right": False}
        await verdict(world, **said)
        await verdict(world, **said | {"probability": 1.0})
        await verdict(world, right=True, probability=0.1)
    (route, _) = await told(world)
    assert route.estimate and route.estimate.accuracy == pytest.approx(100 / 110)


async def test_only_the_last_days_count(world: SimpleNamespace) -> None:  # noqa: F811
    await promote(world)
    for days_ago in (27.4, 28.6):
        await answer(world, days_ago=days_ago)
    (route, _) = await told(world)
    assert route.answers == 1


async def test_prometheus_shows_what_is_known_and_forgets_what_is_not(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    await promote(world)
    for _ in range(12):
        await answer(world, occurred_at=datetime.now(UTC))
        await verdict(world, right=True, asked_at=datetime.now(UTC) + timedelta(minutes=1))
    known = await Gauges(world.db, world.monitors, world.answered).read()
    show(known)
    labels = {"route": factories.ROUTE, "arm": "base", "figure": "estimate"}
    assert REGISTRY.get_sample_value("ratchet_live_accuracy", labels) == pytest.approx(1.0)
    show([])
    assert REGISTRY.get_sample_value("ratchet_live_accuracy", labels) is None


def test_too_few_verdicts_say_nothing() -> None:
    answered = sum([tallied(0.5)] * 50, Answered())
    verdicts = [Judged(True, 0.5, 0.5)] * 9
    assert estimate(answered, verdicts) is None
    assert estimate(answered, [*verdicts, verdicts[0]]) is not None


def test_sums_of_predictions_depend_on_no_order() -> None:
    parts = [tallied(each / 7) for each in range(7)]
    assert sum(parts, Answered()) == sum(reversed(parts), Answered())


def test_a_rise_is_not_proven_by_nothing() -> None:
    wrong = [Judged(False, 0.5, 1.0)] * 5
    assert rise([], [], 0.01) == (0.0, False)
    assert rise([], wrong, 0.01) == (1.0, False)
    assert rise([Judged(True, 0.5, 1.0)] * 30, wrong * 8, 0.01) == (1.0, True)

"""A verdict that was taken back counts nowhere: not in the detector, not in an alarm's report."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from schemas.events import ReviewCompleted
from services.evaluator.monitor import Monitor
from tests import factories
from tests.unit.evaluator.test_watch import CHAMPION, look, promote, world  # noqa: F401 - a fixture
from tests.unit.evaluator.worlds import handlers


def verdict(wrong: bool, **changes) -> ReviewCompleted:
    return factories.review(
        **(
            {
                "audit": True,
                "arm": "champion",
                "adapter_id": CHAMPION.adapter_id,
                "verdict": "corrected" if wrong else "approved",
            }
            | changes
        )
    )


def taken_back(event: ReviewCompleted) -> ReviewCompleted:
    return event.model_copy(update={"withdrawn": True, "event_id": f"{event.event_id}-back"})


async def hears(world: SimpleNamespace, *events: ReviewCompleted) -> None:  # noqa: F811
    for event in events:
        async with world.db.transaction() as tx:
            await handlers(world).on_review_completed(tx, event)


async def monitor_of(world: SimpleNamespace) -> Monitor:  # noqa: F811
    async with world.db.read() as connection:
        return await world.monitors.see(connection, factories.ROUTE)


async def audited(world: SimpleNamespace) -> list[bool]:  # noqa: F811
    async with world.db.read() as connection:
        found = await world.streams.audited(connection, factories.ROUTE)
    return [seen.right for seen in found]


async def test_the_monitor_is_as_if_it_never_heard_what_was_taken_back(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    rng = random.Random(5)
    events = [verdict(wrong=rng.random() < 0.2) for _ in range(40)]
    back = rng.sample(events, 12)
    kept = [event for event in events if event not in back]
    await promote(world)
    await hears(world, *events, *map(taken_back, back))
    seen = await monitor_of(world)
    assert await audited(world) == [event.verdict == "approved" for event in kept]
    await promote(world, version=2, champion=factories.adapter("ba9876543210"))
    await promote(world, version=3)
    await hears(
        world, *(event.model_copy(update={"review_id": f"{event.review_id}.1"}) for event in kept)
    )
    fresh = await monitor_of(world)
    assert seen.tolerance.labels == 28
    assert (seen.tolerance, seen.rise) == (fresh.tolerance, fresh.rise)


async def test_a_verdict_that_supersedes_counts_once(world: SimpleNamespace) -> None:  # noqa: F811
    first = verdict(wrong=True)
    second = verdict(wrong=False, supersedes=first.review_id)
    await promote(world)
    await hears(world, first, taken_back(first), second, taken_back(first), first)
    monitor = await monitor_of(world)
    assert (monitor.rise.labels, monitor.rise.errors, await audited(world)) == (1, 0, [True])


async def test_one_that_is_heard_of_late_never_counts(world: SimpleNamespace) -> None:  # noqa: F811
    event = verdict(wrong=True)
    await promote(world)
    await hears(world, taken_back(event), event)
    monitor = await monitor_of(world)
    assert (monitor.rise.labels, monitor.rise.errors, await audited(world)) == (0, 0, [])


async def test_one_of_an_earlier_episode_or_another_arm_changes_nothing(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    await promote(world)
    old = verdict(wrong=True)
    await hears(world, old)
    await promote(world, version=2, labels=(*factories.spec().labels, "invoice"))
    other = verdict(wrong=True, arm="base", adapter_id=None)
    unaudited = verdict(wrong=True, audit=False)
    await hears(world, verdict(wrong=False), other, unaudited)
    before = await monitor_of(world)
    await hears(world, *map(taken_back, (old, unaudited)))
    assert await monitor_of(world) == before
    assert (before.tolerance.labels, before.rise.labels) == (1, 2)


async def test_a_verdict_that_is_said_again_counts_once_with_what_acted(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    await promote(world)
    event = verdict(wrong=True, probability=0.1)
    sure = event.model_copy(update={"event_id": "sure", "probability": 1.0})
    await hears(world, event)
    before = await monitor_of(world)
    await hears(world, sure, sure, event)
    assert await monitor_of(world) == before and before.tolerance.labels == 1
    assert await audited(world) == [False]
    table = world.streams.reviews
    async with world.db.read() as connection:
        rows = (await connection.execute(sa.select(table.c.probability, table.c.audit))).all()
    assert [tuple(row) for row in rows] == [(1.0, 1)]


@pytest.mark.parametrize("raised", [True, False])
async def test_an_alarm_that_was_raised_stays_and_one_that_was_not_does_not_come(
    world: SimpleNamespace,  # noqa: F811
    raised: bool,
) -> None:
    await promote(world)
    wrong = [verdict(wrong=True) for _ in range(50)]
    await hears(world, *wrong)
    assert (await monitor_of(world)).tolerance.fired
    if raised:
        assert len(await look(world)) == 1
    await hears(world, *map(taken_back, wrong))
    monitor = await monitor_of(world)
    assert (monitor.tolerance.labels, monitor.tolerance.fired) == (0, False)
    assert len(await look(world)) == int(raised)


async def test_a_second_look_moves_no_monitor(world: SimpleNamespace) -> None:  # noqa: F811
    await promote(world)
    await hears(world, verdict(wrong=True))
    before = await monitor_of(world)
    second = verdict(wrong=True, second_of="r1")
    await hears(world, second, taken_back(second))
    assert await monitor_of(world) == before

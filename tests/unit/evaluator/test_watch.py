"""Drift alarms: one for each change, then the next; hours are compared with their like; every
audited verdict is counted once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData, func, select

from schemas.base import Attempt
from schemas.events import DriftDetected
from schemas.route import DriftRule
from services.evaluator.alarms import Alarms
from services.evaluator.monitor import Monitor
from services.evaluator.rises import Rises
from services.evaluator.store.answered import AnsweredStore
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.store.streams import StreamStore
from services.evaluator.watch import Watch
from services.evaluator.windows import Windows
from shared.events.outbox import Outbox
from shared.rules.routes import RouteBook
from shared.storage.db import Database
from tests import factories
from tests.unit.evaluator.worlds import NoReports, handlers

CHAMPION = factories.adapter()
RULE = DriftRule(reference=60, window=40, tolerated_error=0.2)
LABELS = factories.spec().labels
# A Monday.
DAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Answers that are given after all alarms of a test.
LATER = {"asked_at": datetime.now(UTC) + HOUR}


@pytest.fixture
async def world(db: Database) -> SimpleNamespace:
    metadata = MetaData()
    outbox = Outbox("evaluator", metadata)
    routes = RouteBook(metadata)
    streams = StreamStore(metadata)
    reports = NoReports()
    monitors = MonitorStore(metadata, streams, run_length=200)
    answered = AnsweredStore(metadata, streams, days=28)
    alarms = Alarms(db, outbox, monitors, streams, answered)
    await db.create_tables(metadata)
    return SimpleNamespace(
        db=db,
        outbox=outbox,
        routes=routes,
        streams=streams,
        monitors=monitors,
        reports=reports,
        rng=np.random.default_rng(4),
        answered=answered,
        watch=Watch(
            db,
            monitors,
            Windows(db, streams, reports, alarms),
            Rises(db, streams, reports, alarms),
        ),
    )


async def promote(
    world: SimpleNamespace, version: int = 1, champion=CHAMPION, began=None, **spec
) -> None:
    async with world.db.transaction() as tx:
        event = factories.route_changed(
            version=version,
            champion=champion,
            spec=factories.spec(drift=RULE, **spec),
            **({"occurred_at": began} if began else {}),
        )
        await handlers(world).on_route_changed(tx, event)


async def answers(
    world: SimpleNamespace,
    n: int,
    strange: bool = False,
    adapter_id: str = CHAMPION.adapter_id,
    arm: str = "champion",
    hour: int | None = None,
) -> None:
    """`strange` requests leave the champion unsure, so that the router falls back to base."""
    async with world.db.transaction() as tx:
        for _ in range(n):
            score = float(world.rng.beta(3, 3) if strange else world.rng.beta(9, 0.7))
            attempt = Attempt(
                arm="champion",
                model=adapter_id,
                adapter_id=adapter_id,
                answer=str(world.rng.choice(LABELS)),
                confidence=factories.confidence(score=score),
                latency_ms=5,
            )
            event = factories.inference(
                arm="base" if strange else arm,
                attempts=(attempt,) if arm == "champion" else (),
                outcome="fell_back" if strange else "confident",
                adapter_id=None if strange or arm == "base" else adapter_id,
                answer=attempt.answer,
                confidence=attempt.confidence,
                **({} if hour is None else {"occurred_at": DAY + timedelta(hours=hour)}),
            )
            await handlers(world).on_inference_recorded(tx, event)


async def verdicts(world: SimpleNamespace, n: int, wrong: bool, **changes) -> None:
    async with world.db.transaction() as tx:
        for _ in range(n):
            verdict = "corrected" if wrong else "approved"
            event = factories.review(
                **(
                    {
                        "audit": True,
                        "arm": "champion",
                        "adapter_id": CHAMPION.adapter_id,
                        "verdict": verdict,
                    }
                    | changes
                )
            )
            await handlers(world).on_review_completed(tx, event)


async def look(world: SimpleNamespace) -> list[DriftDetected]:
    """Let the loop do all it can; returns the alarms published so far."""
    while await world.watch.look():
        pass
    table = world.outbox.table
    async with world.db.read() as connection:
        rows = (await connection.execute(select(table).order_by(table.c.seq))).all()
    return [DriftDetected.model_validate_json(row.payload) for row in rows]


async def seen(world: SimpleNamespace) -> Monitor:
    async with world.db.read() as connection:
        return await world.monitors.see(connection, factories.ROUTE)


async def test_a_shift_raises_one_alarm_with_its_evidence(world: SimpleNamespace) -> None:
    await promote(world)
    await answers(world, 180)
    assert await look(world) == []
    await answers(world, 200, strange=True)
    (alarm,) = await look(world)
    assert (alarm.monitor, alarm.reference_size, alarm.window_size) == ("input", 60, 40)
    assert {s.name for s in alarm.statistics if s.fired} >= {"confidence-ks"}
    assert len(world.reports.contents[0]["current"]) == 40


async def test_the_champions_own_attempt_is_watched_when_the_router_fell_back(
    world: SimpleNamespace,
) -> None:
    await promote(world)
    await answers(world, 5, strange=True)
    async with world.db.read() as connection:
        rows = await world.streams.after(connection, factories.ROUTE, CHAMPION.adapter_id, 0, 10)
    assert len(rows) == 5 and {row.outcome for row in rows} == {"fell_back"}


async def test_a_new_champion_starts_a_new_episode(world: SimpleNamespace) -> None:
    await promote(world)
    await answers(world, 60)
    await answers(world, 120, strange=True)
    assert len(await look(world)) == 1
    newer = factories.adapter("ba9876543210")
    await promote(world, version=2, champion=newer)
    await answers(world, 60, adapter_id=newer.adapter_id)
    await answers(world, 120, strange=True, adapter_id=newer.adapter_id)
    alarms = await look(world)
    assert [alarm.adapter_id for alarm in alarms] == [CHAMPION.adapter_id, newer.adapter_id]


async def test_new_labels_redefine_what_is_normal(world: SimpleNamespace) -> None:
    await promote(world)
    await answers(world, 60)
    await answers(world, 120, strange=True)
    await look(world)
    await promote(world, version=2, labels=(*LABELS, "invoice"))
    await answers(world, 200, strange=True)
    assert len(await look(world)) == 1


async def test_the_base_model_alone_is_watched_for_what_changes(world: SimpleNamespace) -> None:
    await promote(world, champion=None)
    await answers(world, 180, arm="base")
    await verdicts(world, 50, wrong=True, arm="base", adapter_id=None)
    assert await look(world) == []
    await answers(world, 200, arm="base", strange=True)
    (alarm,) = await look(world)
    assert (alarm.monitor, alarm.adapter_id) == ("input", None)


async def test_what_capture_records_of_routes_that_are_none_waits_for_nothing(
    world: SimpleNamespace,
) -> None:
    async with world.db.transaction() as tx:
        await handlers(world).on_inference_recorded(tx, factories.inference(arm="external"))
    assert await look(world) == []


async def test_rising_errors_raise_an_alarm_and_later_the_next(world: SimpleNamespace) -> None:
    await promote(world)
    await verdicts(world, 125, wrong=False)
    assert await look(world) == []
    await verdicts(world, 50, wrong=True)
    (alarm,) = await look(world)
    (tolerance, _) = alarm.statistics
    assert alarm.monitor == "errors" and tolerance.fired
    assert tolerance.value >= tolerance.threshold == 200
    await verdicts(world, 25, wrong=True)
    assert len(await look(world)) == 1
    await verdicts(world, 25, wrong=True)
    assert len(await look(world)) == 2


async def test_answers_that_get_worse_than_they_were_raise_an_alarm_under_the_bar(
    world: SimpleNamespace,
) -> None:
    """At 16 % a route that tolerates 20 % alarms by the rate of its first 200 labels alone."""
    await promote(world)
    await verdicts(world, 200, wrong=False)
    for _ in range(40):
        await verdicts(world, 1, wrong=True, arm="base", adapter_id=None)
        await verdicts(world, 5, wrong=False)
    (alarm, *_) = await look(world)
    assert [s.name for s in alarm.statistics if s.fired] == ["error-rise-e-sr"]


async def test_only_audited_verdicts_on_the_champions_answers_count_and_each_once(
    world: SimpleNamespace,
) -> None:
    await promote(world)
    await verdicts(world, 3, wrong=True)
    for changes in (
        {"audit": False},
        {"arm": "base", "adapter_id": None},
        {"adapter_id": "acme--support-triage@ffffffffffff"},
    ):
        await verdicts(world, 2, wrong=True, **changes)
    await verdicts(world, 2, wrong=True, verdict="rejected")
    again = factories.review(audit=True, arm="champion", adapter_id=CHAMPION.adapter_id)
    for event_id in ("first-delivery", "second-delivery"):
        async with world.db.transaction() as tx:
            await handlers(world).on_review_completed(
                tx, again.model_copy(update={"event_id": event_id})
            )
    async with world.db.transaction() as tx:
        monitor = await world.monitors.get(tx, factories.ROUTE)
    assert (monitor.tolerance.labels, monitor.tolerance.errors) == (6, 6)
    # What the base model and another adapter answered counts for the route as a whole.
    assert (monitor.rise.labels, monitor.rise.errors) == (10, 10)


async def test_compared_windows_are_forgotten(world: SimpleNamespace) -> None:
    await promote(world)
    await answers(world, 400)
    await look(world)
    async with world.db.read() as connection:
        kept = (
            await connection.execute(select(func.count()).select_from(world.streams.observations))
        ).scalar_one()
    assert kept <= RULE.reference + 2 * RULE.window


async def test_an_older_route_state_that_arrives_late_changes_nothing(
    world: SimpleNamespace,
) -> None:
    await promote(world, version=2)
    await promote(world, version=1, champion=factories.adapter("ba9876543210"))
    async with world.db.read() as connection:
        (monitor,) = await world.monitors.all(connection)
    assert monitor.adapter_id == CHAMPION.adapter_id


async def test_feedback_is_kept_without_its_text(world: SimpleNamespace) -> None:
    async with world.db.transaction() as tx:
        await world.streams.on_feedback_recorded(
            tx, factories.feedback(kind="comment", text="call me, said Zoë")
        )
    async with world.db.read() as connection:
        (row,) = (await connection.execute(select(world.streams.feedback))).all()
    assert "said" not in repr(row)


async def test_an_alarm_makes_what_comes_after_it_the_new_normal(world: SimpleNamespace) -> None:
    await promote(world)
    await answers(world, 60)
    await answers(world, 120, strange=True)
    assert len(await look(world)) == 1
    await answers(world, 300, strange=True)
    assert len(await look(world)) == 1
    await answers(world, 200)
    # The labels that the first alarm asked for are still awaited.
    assert len(await look(world)) == 1
    await verdicts(world, 160, wrong=False, audit=False, reason="drift", probability=1.0, **LATER)
    await answers(world, 100)
    assert [alarm.monitor for alarm in await look(world)] == ["input", "input"]


async def test_labels_bear_an_input_alarm_out_or_not(world: SimpleNamespace) -> None:
    await promote(world, began=DAY)
    before = {"audit": False, "probability": 0.2, "asked_at": datetime.now(UTC) - HOUR}
    await verdicts(world, 60, wrong=False, **before)
    await verdicts(world, 10, wrong=True, **before)
    await answers(world, 60)
    await answers(world, 120, strange=True)
    (first,) = await look(world)
    await verdicts(world, 19, wrong=True, audit=False, reason="drift", probability=1.0, **LATER)
    assert await look(world) == [first]
    await verdicts(world, 1, wrong=True, audit=False, reason="drift", probability=1.0, **LATER)
    (_, second) = await look(world)
    assert (second.monitor, second.confirms) == ("errors", first.drift_id)
    assert second.statistics[0].name == "drift-batch-errors"


async def test_hours_that_the_reference_does_not_know_wait(world: SimpleNamespace) -> None:
    await promote(world)
    await answers(world, 180, hour=9)
    assert await look(world) == [] and (await seen(world)).windows == 5
    await answers(world, 60, hour=21, strange=True)
    assert await look(world) == []
    assert (await seen(world)).state == "waiting for a matched reference"
    await answers(world, 140, hour=21, strange=True)
    assert await look(world) == []
    # By the next evening the evening is known, and no day is compared with it.
    await answers(world, 100, hour=24 + 9)
    await answers(world, 100, hour=24 + 21, strange=True)
    assert await look(world) == []
    await answers(world, 160, hour=48 + 21)
    assert [alarm.monitor for alarm in await look(world)] == ["input"]


async def test_the_reference_of_an_hour_stays_small(world: SimpleNamespace) -> None:
    await promote(world)
    for hour in range(3):
        await answers(world, 400, hour=6 * hour)
    await look(world)
    async with world.db.read() as connection:
        kept = (
            await connection.execute(select(func.count()).select_from(world.streams.observations))
        ).scalar_one()
    assert kept <= 3 * RULE.reference + 2 * RULE.window


async def test_what_is_wrong_with_one_route_keeps_no_other_from_being_watched(
    world: SimpleNamespace,
) -> None:
    await promote(world)
    await answers(world, 180)
    await answers(world, 200, strange=True)
    broken = sa.insert(world.monitors.table).from_select(
        [column.name for column in world.monitors.table.columns],
        sa.select(
            *(
                sa.literal("acme/broken")
                if column.name == "route"
                # no JSON
                else sa.literal("{")
                if column.name == "recent"
                else column
                for column in world.monitors.table.columns
            )
        ),
    )
    async with world.db.transaction() as tx:
        await tx.execute(broken)
    (alarm,) = await look(world)
    assert alarm.route == factories.ROUTE

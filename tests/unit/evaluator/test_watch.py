"""Drift alarms: one for each episode, none without a champion, every audited verdict counted
once.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData, func, select

from schemas.base import Attempt
from schemas.events import DriftDetected
from schemas.route import DriftRule
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.store.streams import StreamStore
from services.evaluator.watch import Watch
from shared.events.outbox import Outbox
from shared.rules.routes import RouteBook
from shared.storage.db import Database
from tests import factories
from tests.unit.evaluator.worlds import NoReports, handlers

CHAMPION = factories.adapter()
RULE = DriftRule(reference=60, window=40, tolerated_error=0.2)
LABELS = factories.spec().labels


@pytest.fixture
async def world(db: Database) -> SimpleNamespace:
    metadata = MetaData()
    outbox = Outbox("evaluator", metadata)
    routes = RouteBook(metadata)
    streams = StreamStore(metadata)
    reports = NoReports()
    monitors = MonitorStore(metadata, streams, run_length=200)
    await db.create_tables(metadata)
    return SimpleNamespace(
        db=db,
        outbox=outbox,
        routes=routes,
        streams=streams,
        monitors=monitors,
        reports=reports,
        rng=np.random.default_rng(4),
        watch=Watch(db, outbox, monitors, streams, reports),
    )


async def promote(world: SimpleNamespace, version: int = 1, champion=CHAMPION, **spec) -> None:
    async with world.db.transaction() as tx:
        event = factories.route_changed(
            version=version, champion=champion, spec=factories.spec(drift=RULE, **spec)
        )
        await handlers(world).on_route_changed(tx, event)


async def answers(
    world: SimpleNamespace, n: int, strange: bool = False, adapter_id: str = CHAMPION.adapter_id
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
                arm="base" if strange else "champion",
                attempts=(attempt,),
                outcome="fell_back" if strange else "confident",
                adapter_id=None if strange else adapter_id,
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


async def test_without_a_champion_nothing_is_watched(world: SimpleNamespace) -> None:
    await promote(world, champion=None)
    async with world.db.transaction() as tx:
        await handlers(world).on_inference_recorded(tx, factories.inference())
    await verdicts(world, 50, wrong=True)
    assert await look(world) == []
    async with world.db.read() as connection:
        assert await world.monitors.all(connection) == []


async def test_rising_errors_raise_one_alarm(world: SimpleNamespace) -> None:
    await promote(world)
    await verdicts(world, 120, wrong=False)
    assert await look(world) == []
    await verdicts(world, 25, wrong=True)
    (alarm,) = await look(world)
    assert (
        alarm.monitor == "errors"
        and alarm.statistics[0].value >= alarm.statistics[0].threshold == 200
    )
    await verdicts(world, 25, wrong=True)
    assert len(await look(world)) == 1


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
    assert (monitor.labels, monitor.errors) == (6, 6)


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
            tx, factories.feedback(kind="comment", text="call me on 555-1234")
        )
    async with world.db.read() as connection:
        (row,) = (await connection.execute(select(world.streams.feedback))).all()
    assert "555" not in repr(row)


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

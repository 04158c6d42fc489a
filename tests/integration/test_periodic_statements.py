"""What each service asks its database again and again uses an index, however large a table grows.

Every worker and the housekeeping of each service run for a moment, and whatever they ask is
explained: a statement that somebody adds to a loop is looked at without being named here.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert

from schemas.topics import SERVICES, topic_of
from services.evaluator.app import Parts as EvaluatorParts
from services.review.app import Parts as ReviewParts
from shared.events.log_guard import Partition
from shared.events.waiting import waiting_rows
from shared.service import Service
from shared.storage import Database
from tests import factories
from tests.plans import plans_of, statements_in

# A row for each route, for each adapter that was ever trained or evaluated, for each route and day
# of a month, or for each item that somebody skipped and nobody decided: read whole, and small.
SMALL = {
    "routes",
    "builds",
    "answered",
    "budgets",
    "skips",
    "monitors",
    "calibrations",
    "canaries",
    "evaluations",
    "contests",
    "waiting_adapters",
    "concluded",
    "populations",
    "route_history",
    "relay_lease",
}
# Read by its covering index: 100,000 jobs take 12 ms, once in five seconds.
COUNTED = {"jobs"}
# Indexes that hold only what waits, however large the table is.
WAITING = ("outbox_waiting", "outbox_parked")


def scanned(plan: str, metadata: MetaData) -> set[str]:
    """Return the tables that a plan reads from one end to the other."""
    whole = set(re.findall(r"Seq Scan on (\w+)", plan))
    for table, how in re.findall(r"^SCAN (\w+)(.*)$", plan, re.MULTILINE):
        if not how.endswith(WAITING) and not (table in COUNTED and "COVERING INDEX" in how):
            whole.add(table)
    return (whole & metadata.tables.keys()) - SMALL


async def service_on(name: str, database_url: str, folder: Path) -> Service[Any]:
    package = f"services.{name.replace('-', '_')}"
    values = {
        "database_url": database_url,
        "artifacts_url": f"file://{folder}/artifacts",
        "keys_file": folder / "keys.json",
        "base_model": "base",
        "work_dir": folder / "work",
        "cache_dir": folder / "cache",
    }
    settings = importlib.import_module(f"{package}.settings").Settings
    known = {key: value for key, value in values.items() if key in settings.model_fields}
    service: Service[Any] = importlib.import_module(f"{package}.app").build(settings(**known))
    await service.prepare_database()
    return service


async def told(service: Service[Any]) -> None:
    """Give it a route with a champion, an answer, a verdict and a job, where it listens."""
    events = (
        factories.route_changed(),
        factories.inference(),
        factories.dataset(),
        factories.trained(),
    )
    for event in events:
        if handler := service.handlers.get(topic_of(type(event))):
            async with service.db.transaction() as tx:
                await handler(tx, event)


async def now_and_then(service: Service[Any]) -> None:
    """Do what is done once an hour, or when a window of answers is complete."""
    if isinstance(service.parts, ReviewParts):
        await service.parts.housekeeping.once()
    if isinstance(service.parts, EvaluatorParts):
        streams = service.parts.monitors.streams
        async with service.db.transaction() as tx:
            await streams.forget(tx, [1, 2])
            await streams.forget_other_adapters(tx, "acme/support-triage", "some-adapter")
            await streams.newest(tx, "acme/support-triage")
            await streams.audited(tx, "acme/support-triage")


@pytest.mark.parametrize("name", SERVICES)
async def test_no_loop_reads_a_growing_table_whole(
    name: str, database_url: str, tmp_path: Path
) -> None:
    service = await service_on(name, database_url, tmp_path)
    try:
        await told(service)
        with statements_in(service.db) as seen:
            loops = [asyncio.create_task(worker()) for worker in service.workers]
            await now_and_then(service)
            await asyncio.sleep(1.5)
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
        plans = await plans_of(service.db, seen.items())
        assert plans or not service.workers
        found = {sql: plan for sql, plan in plans.items() if scanned(plan, service.metadata)}
        assert not found, "\n\n".join(f"{sql}\n{plan}" for sql, plan in found.items())
    finally:
        await service.db.close()


@pytest.mark.parametrize("name", ["router", "evaluator"])
async def test_no_statement_about_events_reads_a_table_whole(
    name: str, database_url: str, tmp_path: Path
) -> None:
    """Housekeeping, probes, relay and guards: what they ask of inbox, outbox and dead letters."""
    service = await service_on(name, database_url, tmp_path)
    relay = service.relay
    try:
        await told(service)
        with statements_in(service.db) as seen:
            for _ in range(2):
                await service.housekeeping.once()
            await relay.state()
            await relay.oldest()
            await relay.is_led_elsewhere()
            await service.outbox.backlog._read(service.db)
            assert relay._losses and relay._healing
            await relay._losses._ends()
            at = Partition("route-changed", 0)
            async with service.db.transaction() as tx:
                await relay._losses._lost_rows(tx, at, 0)
                await relay._losses._between(tx, at, 0, 10)
                await relay._healing._places(tx, at.topic)
                await relay._healing._waiting_keys(tx, at.topic)
                await relay._healing._newest_sent(tx, at.topic)
                await service.outbox.last_seen(tx, *at)
            await service.outbox.forget_places(service.db, *at)
            async with service.db.read() as connection:
                await waiting_rows(connection, service.outbox.table, relay.topics, 500)
        plans = await plans_of(service.db, seen.items())
        assert len(plans) > 12
        found = {sql: plan for sql, plan in plans.items() if scanned(plan, service.metadata)}
        assert not found, "\n\n".join(f"{sql}\n{plan}" for sql, plan in found.items())
    finally:
        await service.db.close()


async def test_a_table_without_an_index_is_found(db: Database) -> None:
    metadata = MetaData()
    table = Table(
        "growing", metadata, Column("key", String, primary_key=True), Column("age", String)
    )
    await db.create_tables(metadata)
    with statements_in(db) as seen:
        async with db.transaction() as tx:
            await tx.execute(insert(table).values(key="a", age="b"))
            await tx.execute(table.delete().where(table.c.age < "c"))
    plans = await plans_of(db, seen.items())
    assert [scanned(plan, metadata) for plan in plans.values()] == [{"growing"}]

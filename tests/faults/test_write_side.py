"""Row 19: the write side. What the log refuses waits alone, a topic that is shut holds up no other,
and an old state never stays the last one. A topic is never missing on the embedded log, which makes
those that it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourceType,
)
from sqlalchemy import MetaData, insert, select

from infra.operations.books import Book, Books, open_books
from infra.operations.parked import (
    RELEASED,
    SUPERSEDED,
    dropping,
    parked_events,
    release,
    settle,
)
from infra.topics import provision
from schemas import topics
from schemas.base import Event, uuid7
from shared.clock import now
from shared.events import DROPPED, KafkaLogReader, KafkaSender, Outbox, Relay, kafka_sender, lanes
from shared.events import relay as relay_module
from shared.storage.db import Database
from tests import factories
from tests.faults.scenario import run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.integration.test_bus import eventually, everything_on
from tests.kafka import ApacheKafka, Broker, apache_missing

NewWorld = Callable[..., World]
INFERENCES = topics.INFERENCE_RECORDED.name
FEEDBACK = topics.FEEDBACK_RECORDED.name
ROUTES = topics.ROUTE_CHANGED.name
# The controller answers before the broker has heard of a change.
SETTLE_SECONDS = 2.0


@dataclass
class WriteSide:
    """The outbox of one service, and a relay that publishes it."""

    service: str
    db: Database
    outbox: Outbox
    relay: Relay

    async def add(self, *events: Event) -> list[str]:
        async with self.db.transaction() as tx:
            await self.outbox.add(tx, *events)
        return [event.event_id for event in events]

    async def add_row(self, topic: str, size: int, key: str | None = "key") -> str:
        """Put a row into the outbox that `add` would have refused, as an older release did."""
        row = {
            "id": uuid7(),
            "aggregatetype": topic,
            "aggregateid": key,
            "type": "InferenceRecorded",
            "payload": os.urandom(size),
            "headers": "{}",
            "created_at": now(),
        }
        async with self.db.transaction() as tx:
            await tx.execute(insert(self.outbox.table).values(row))
        return str(row["id"])

    async def parked(self) -> list[str]:
        return [event.event_id for event in await parked_events(self.books(), self.service)]

    def books(self) -> Books:
        tables = self.outbox.tables
        book = Book(
            self.service, self.db, tables.inbox, tables.outbox, tables.dead_letters, tables.pauses
        )
        return Books({self.service: book})

    async def drained(self) -> bool:
        return await self.relay.pending() == 0


@asynccontextmanager
async def publishing(service: str, db: Database, servers: str) -> AsyncIterator[WriteSide]:
    metadata = MetaData()
    outbox = Outbox(service, metadata)
    await db.create_tables(metadata)
    relay = Relay(
        db, outbox, KafkaSender(servers, service), KafkaLogReader(servers, service), owner="test"
    )
    running = asyncio.create_task(relay.run())
    try:
        yield WriteSide(service, db, outbox, relay)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await relay.stop()


async def ids_on(servers: str, topic: str) -> Counter[str]:
    return Counter(
        dict(record.headers)["id"].decode() for record in await everything_on(servers, topic)
    )


@pytest.mark.parametrize("size", [1_500_000, 5_000_000, 15_000_000])
async def test_a_row_that_is_too_large_waits_alone(broker: Broker, db: Database, size: int) -> None:
    async with publishing("capture", db, broker.servers) as side:
        before = await side.add(*(factories.inference() for _ in range(350)))
        large = await side.add_row(INFERENCES, size)
        after = await side.add(*(factories.inference() for _ in range(700)))
        await eventually(side.drained)
        assert await side.parked() == [large]
        on_log = await ids_on(broker.servers, INFERENCES)
    assert {on_log[event] for event in [*before, *after]} == {1}
    assert on_log[large] == 0


@pytest.mark.faults
async def test_without_refusals_row_by_row_one_holds_up_all(
    apache: Broker, sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the tests here would say of a relay that knows no refusals."""
    monkeypatch.setattr(kafka_sender, "REFUSALS", ())
    async with publishing("capture", sqlite_db, apache.servers) as side:
        await side.add_row(INFERENCES, 1_500_000, key="acme/support-triage")
        behind = await side.add(*(factories.inference() for _ in range(700)))
        with pytest.raises(TimeoutError):
            await eventually(side.drained, seconds=10)
        on_log = await ids_on(apache.servers, INFERENCES)
    assert sum(on_log[event] == 0 for event in behind) > 100


@pytest.mark.faults
async def test_a_parked_row_is_released_once_the_log_takes_it(db: Database, tmp_path: Path) -> None:
    if reason := apache_missing():
        pytest.skip(reason)
    with ApacheKafka(tmp_path / "own") as broker:
        async with publishing("capture", db, broker.servers) as side:
            large = await side.add_row(INFERENCES, 1_500_000)
            await eventually(side.drained)
            assert await side.parked() == [large]
            await asyncio.to_thread(raise_limit, broker.servers, INFERENCES, 3_000_000)
            (outcome,) = await settle(side.books(), await parked_events(side.books()), release)
            assert outcome.outcome == RELEASED
            side.db.committed.set()
            await eventually(side.drained)
            assert await side.parked() == []
            assert (await ids_on(broker.servers, INFERENCES))[large] == 1


def raise_limit(servers: str, topic: str, size: int) -> None:
    configure(servers, topic, {"max.message.bytes": str(size)})


def configure(servers: str, topic: str, settings: dict[str, str]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)])
    finally:
        admin.close()
    time.sleep(SETTLE_SECONDS)


@pytest.mark.faults
async def test_a_missing_topic_holds_up_no_other(
    apache: Broker, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LONGEST_PAUSE_CLOSED", 1.0)
    servers = apache.servers
    await asyncio.to_thread(delete_topic, servers, FEEDBACK)
    async with publishing("capture", db, servers) as side:
        waiting = await side.add(*(factories.feedback() for _ in range(600)))
        flowing = await side.add(*(factories.inference() for _ in range(600)))
        await eventually(lambda: only_waiting(side, waiting))
        await eventually(lambda: is_closed(side, FEEDBACK))
        assert "is missing" in (await side.relay.state()).closed[FEEDBACK]
        assert (await side.relay.oldest()) is None, "a closed topic is not a relay that is stuck"
        more = await side.add(*(factories.inference() for _ in range(10)))
        await eventually(lambda: only_waiting(side, waiting))
        await asyncio.to_thread(provision, servers)
        await eventually(side.drained)
        assert (await side.relay.state()).closed == {}
        assert await side.parked() == []
    on_log = await ids_on(servers, INFERENCES) + await ids_on(servers, FEEDBACK)
    assert {on_log[event] for event in [*waiting, *flowing, *more]} == {1}


@pytest.mark.faults
async def test_a_topic_that_is_deleted_while_it_is_written_to(
    apache: Broker, sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LONGEST_PAUSE_CLOSED", 1.0)
    servers = apache.servers
    async with publishing("capture", sqlite_db, servers) as side:
        await side.add(*(factories.feedback() for _ in range(10)))
        await eventually(side.drained)
        await asyncio.to_thread(delete_topic, servers, FEEDBACK)
        waiting = await side.add(*(factories.feedback() for _ in range(10)))
        flowing = await side.add(*(factories.inference() for _ in range(100)))
        await eventually(lambda: only_waiting(side, waiting))
        await eventually(lambda: is_closed(side, FEEDBACK))
        await asyncio.to_thread(provision, servers)
        await eventually(side.drained)
    on_log = await ids_on(servers, INFERENCES) + await ids_on(servers, FEEDBACK)
    assert {on_log[event] for event in [*waiting, *flowing]} == {1}


async def is_closed(side: WriteSide, topic: str) -> bool:
    return topic in side.relay.lanes.closed


async def only_waiting(side: WriteSide, waiting: list[str]) -> bool:
    table = side.outbox.table
    async with side.db.read() as connection:
        unsent = select(table.c.id).where(table.c.sent_at.is_(None))
        return set((await connection.execute(unsent)).scalars()) == set(waiting)


def delete_topic(servers: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        admin.delete_topics([topic])
        while topic in admin.list_topics():
            time.sleep(0.1)
    finally:
        admin.close()
    time.sleep(SETTLE_SECONDS)


class GuardedKafka(ApacheKafka):
    """A Kafka with ACLs; whoever is named in none may do everything."""

    def command(self) -> list[str]:
        command = super().command()
        properties = self.folder / "server.properties"
        if "authorizer" not in properties.read_text():
            with properties.open("a") as lines:
                lines.write(
                    "authorizer.class.name="
                    "org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
                    "allow.everyone.if.no.acl.found=true\n"
                )
        return command


def denial(operation: ACLOperation, topic: str) -> ACL:
    return ACL(
        principal="User:ANONYMOUS",
        host="*",
        operation=operation,
        permission_type=ACLPermissionType.DENY,
        resource_pattern=ResourcePattern(ResourceType.TOPIC, topic),
    )


@pytest.mark.faults
async def test_a_forbidden_topic_holds_up_no_other(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := apache_missing():
        pytest.skip(reason)
    monkeypatch.setattr(lanes, "LONGEST_PAUSE_CLOSED", 1.0)
    with GuardedKafka(tmp_path / "own") as broker:
        denied = denial(ACLOperation.WRITE, FEEDBACK)
        admin = KafkaAdminClient(bootstrap_servers=broker.servers)
        await asyncio.to_thread(admin.create_acls, [denied])
        await asyncio.sleep(SETTLE_SECONDS)
        async with publishing("capture", db, broker.servers) as side:
            waiting = await side.add(*(factories.feedback() for _ in range(20)))
            flowing = await side.add(*(factories.inference() for _ in range(600)))
            await eventually(lambda: only_waiting(side, waiting))
            await eventually(lambda: is_closed(side, FEEDBACK))
            assert "is forbidden" in side.relay.lanes.closed[FEEDBACK]
            await asyncio.to_thread(admin.delete_acls, [denied])
            admin.close()
            await eventually(side.drained)
        on_log = await ids_on(broker.servers, INFERENCES) + await ids_on(broker.servers, FEEDBACK)
    assert {on_log[event] for event in [*waiting, *flowing]} == {1}


async def test_a_record_that_a_compacted_topic_refuses_waits_alone(
    broker: Broker, sqlite_db: Database
) -> None:
    """A log takes no record without a key there, and aiokafka does not know that error's number."""
    async with publishing("router", sqlite_db, broker.servers) as side:
        keyless = await side.add_row(ROUTES, 100, key=None)
        states = await side.add(*(factories.route_changed(version=n) for n in (1, 2)))
        await eventually(side.drained)
        assert await side.parked() == [keyless]
        on_log = await ids_on(broker.servers, ROUTES)
    assert {on_log[state] for state in states} == {1}


@pytest.mark.faults
async def test_a_parked_state_is_never_released_past_a_newer_one(
    apache: Broker, db: Database
) -> None:
    newer = factories.route_changed(version=2)
    async with publishing("router", db, apache.servers) as side:
        old = await side.add_row(ROUTES, 1_500_000, key=newer.route)
        await eventually(side.drained)
        await asyncio.to_thread(raise_limit, apache.servers, ROUTES, 3_000_000)
        await side.add(newer)
        await eventually(side.drained)
        (outcome,) = await settle(side.books(), await parked_events(side.books()), release)
        assert outcome.outcome == SUPERSEDED
        assert await side.parked() == [old]


COMPACTED_AT_ONCE = {
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "1000",
    "min.compaction.lag.ms": "0",
    "delete.retention.ms": "1000",
}


@pytest.mark.faults
@pytest.mark.timeout(500)
@pytest.mark.parametrize("heals", [True, False], ids=["healing", "without"])
async def test_an_old_state_of_a_woken_relay_does_not_stay_the_last_one(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch, heals: bool
) -> None:
    """Forces compaction, and reads as somebody who never read before. Without healing it finds the
    old state alone: the control.
    """
    if reason := apache_missing():
        pytest.skip(reason)
    monkeypatch.setattr(relay_module, "HEAL_SECONDS", 2.0 if heals else float("inf"))
    first, second = (factories.route_changed(version=version) for version in (1, 2))
    with CleaningKafka(tmp_path / "own") as broker:
        await asyncio.to_thread(configure, broker.servers, ROUTES, COMPACTED_AT_ONCE)
        async with publishing("router", db, broker.servers) as side:
            await side.add(first, second)
            await eventually(side.drained)
            zombie = KafkaSender(broker.servers, "zombie")
            await zombie.send([await row_of(side, first.event_id)])
            await zombie.close()
            newest = second if heals else first
            await eventually(lambda: ends_with(broker.servers, newest.event_id))
            # A segment is compacted once it is no longer written to.
            other = factories.route_changed(version=1, route="acme/other")
            async with asyncio.timeout(250):
                while len(await states_of(broker.servers, first.route)) > 1:
                    await side.add(other)
                    await asyncio.sleep(1.5)
            assert await states_of(broker.servers, first.route) == [newest.event_id]


class CleaningKafka(ApacheKafka):
    """A Kafka whose cleaner never rests long."""

    def command(self) -> list[str]:
        command = super().command()
        properties = self.folder / "server.properties"
        if "log.cleaner" not in properties.read_text():
            with properties.open("a") as lines:
                lines.write("log.cleaner.backoff.ms=200\nlog.initial.task.delay.ms=0\n")
        return command


async def row_of(side: WriteSide, event_id: str) -> Any:
    table = side.outbox.table
    async with side.db.read() as connection:
        return (await connection.execute(select(table).where(table.c.id == event_id))).one()


async def states_of(servers: str, key: str) -> list[str]:
    return [
        dict(record.headers)["id"].decode()
        for record in await everything_on(servers, ROUTES)
        if record.key == key.encode()
    ]


async def ends_with(servers: str, event_id: str) -> bool:
    return (await states_of(servers, factories.route_changed().route))[-1] == event_id


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_rows_that_the_log_refuses_in_the_middle_of_work(
    broker: Broker, new_world: NewWorld
) -> None:
    """An older release left them, or somebody wrote them by hand: nothing else may notice."""
    producers = ("capture", "router", "review", "evaluator")

    async def during(_: Clients) -> None:
        await asyncio.sleep(3)
        for service in producers:
            db = Database(world.databases[service])
            side = WriteSide(service, db, Outbox(service, MetaData()), relay=None)
            topic = next(topic for topic in topics.TOPICS if service in topic.producers)
            await side.add_row(topic.name, 1_500_000)
            await side.add_row(topic.name, 6_000_000)
            await db.close()
        await asyncio.sleep(5)
        for service in producers:
            async with asyncio.timeout(90):
                while (ready := await world.call(service, "/health/ready")) and (
                    ready.json()["outbox_parked"] != 2
                ):
                    await asyncio.sleep(0.5)
            assert (await world.call(service, "/health/live")).status_code == 200
            assert "ratchet_outbox_parked 2.0" in (await world.call(service, "/metrics")).text
        async with open_books(world.databases) as books:
            parked = await parked_events(books)
            assert len(parked) == 2 * len(producers)
            dropped = await settle(books, parked, dropping("planted by a test"))
            assert {outcome.outcome for outcome in dropped} == {DROPPED}

    async with new_world(broker.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(20), during)
    outcome.must_hold()

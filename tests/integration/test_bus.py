"""The bus on a real broker: once per event, poison aside with its bytes, retries, and a broker that
comes late.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

import shared.service
from schemas import topics
from schemas.base import Event
from schemas.events import DatasetBuilt
from shared.errors import Retryable
from shared.events.kafka_sender import CLOSE_SECONDS
from shared.events.outbox import Outbox
from shared.events.rendering import cloudevent_headers
from shared.service import Service
from shared.settings import ServiceSettings
from shared.storage.db import Database
from tests import factories
from tests.kafka import KINDS, Broker

PATIENCE = 120.0  # a machine that does much else makes a broker slow, not wrong


class ToolsAway(Retryable):
    def __init__(self) -> None:
        super().__init__("try again")


class Effects:
    """The trainer's database reduced to one table: a row for each dataset that was handled."""

    def __init__(self, db: Database, metadata: MetaData, outbox: Outbox) -> None:
        self.db = db
        self.outbox = outbox
        self.failures = 0
        self.table = Table(
            "effects", metadata, Column("id", Integer, primary_key=True), Column("because", String)
        )

    async def on_dataset_built(self, tx: AsyncConnection, event: DatasetBuilt) -> None:
        await tx.execute(insert(self.table).values(because=event.because))
        await self.outbox.add(tx, factories.trained(job_id=event.because))
        if event.because.startswith("poison"):
            raise ValueError("this dataset is bad")
        if event.because.startswith("flaky") and self.failures:
            self.failures -= 1
            raise ToolsAway

    async def seen_like(self, beginning: str) -> int:
        wanted = select(self.table).where(self.table.c.because.startswith(beginning))
        async with self.db.read() as connection:
            return len((await connection.execute(wanted)).all())

    async def seen(self, because: str) -> int:
        async with self.db.read() as connection:
            return len(
                (
                    await connection.execute(
                        select(self.table).where(self.table.c.because == because)
                    )
                ).all()
            )


@asynccontextmanager
async def trainer(servers: str, folder: Path) -> AsyncIterator[tuple[Service[None], Effects]]:
    settings = ServiceSettings(
        kafka_bootstrap_servers=servers,
        database_url=f"sqlite+aiosqlite:///{folder}/trainer.db",
        keys_file=folder / "keys.json",
    )
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("trainer", metadata)
    effects = Effects(db, metadata, outbox)
    handlers = {topics.DATASET_BUILT: effects.on_dataset_built}
    service = Service("trainer", settings, metadata, handlers, [], db, outbox, parts=None)
    async with service.api.router.lifespan_context(service.api):
        yield service, effects


@asynccontextmanager
async def producer(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        yield producer


async def send(producer: AIOKafkaProducer, event: Event) -> None:
    headers = [
        (name, value.encode())
        for name, value in cloudevent_headers(event, "dataset-builder").items()
    ]
    await producer.send_and_wait(
        event.topic_name(),
        event.model_dump_json().encode(),
        key=event.route.encode(),
        headers=headers,
    )


async def everything_on(servers: str, topic: str) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        partitions = [
            TopicPartition(topic, partition)
            for partition in consumer.partitions_for_topic(topic) or ()
        ]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records = []
        while any(
            [await consumer.position(partition) < ends[partition] for partition in partitions]
        ):
            for some in (await consumer.getmany(timeout_ms=500)).values():
                records += some
        return records
    finally:
        await consumer.stop()


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.1)


async def drained(service: Service[None]) -> bool:
    return await service.relay.pending() == 0


async def test_an_event_sent_three_times_acts_once(
    broker: Broker, kind: str, tmp_path: Path
) -> None:
    event = factories.dataset(because=f"thrice-{kind}")
    async with (
        trainer(broker.servers, tmp_path) as (service, effects),
        producer(broker.servers) as sender,
    ):
        for _ in range(3):
            await send(sender, event)
        await send(sender, factories.dataset(because=f"after-{kind}"))
        await eventually(lambda: effects.seen(f"after-{kind}"))
        await eventually(lambda: drained(service))
        assert await effects.seen(f"thrice-{kind}") == 1
        published = [
            record
            for record in await everything_on(broker.servers, "adapter-trained")
            if f"thrice-{kind}".encode() in record.value
        ]
        assert len(published) == 1
        headers = dict(published[0].headers)
        assert (headers["ce_type"], headers["ce_specversion"], published[0].key) == (
            b"AdapterTrained",
            b"1.0",
            b"acme/support-triage",
        )


async def test_poison_is_set_aside_unchanged_and_the_next_event_is_processed(
    broker: Broker, kind: str, tmp_path: Path
) -> None:
    poison = {
        "utf8": b"\xff\xfe{nonsense " + kind.encode(),
        "schema": b'{"tenant": 1, "kind": "' + kind.encode() + b'"}',
        "tombstone": None,
        "large": b'{"x": "' + b"y" * 900_000 + b'"}',
        "deep": b"[" * 50_000,
        "handler": factories.dataset(because=f"poison-{kind}").model_dump_json().encode(),
    }
    async with (
        trainer(broker.servers, tmp_path) as (service, effects),
        producer(broker.servers) as sender,
    ):
        before = len(await everything_on(broker.servers, "trainer-dlq"))
        for name, body in poison.items():
            await sender.send_and_wait(
                "dataset-built",
                body,
                key=b"acme/support-triage",
                headers=[("x-poison", name.encode()), ("x-bytes", b"\xff\xfe")],
            )
        await send(sender, factories.dataset(because=f"healthy-{kind}"))
        await eventually(lambda: effects.seen(f"healthy-{kind}"))
        await eventually(lambda: drained(service))
        assert await effects.seen(f"poison-{kind}") == 0, (
            "the effect of a handler that failed must be rolled back"
        )
        dead = (await everything_on(broker.servers, "trainer-dlq"))[before:]
    letters = {dict(record.headers)["x-poison"].decode(): record for record in dead}
    assert {name: record.value for name, record in letters.items()} == poison, (
        "bytes unchanged, and a tombstone stays one"
    )
    reasons = {
        name: dict(record.headers)["x-error-type"].decode() for name, record in letters.items()
    }
    assert reasons["handler"] == "ValueError"
    assert {dict(record.headers)["x-origin-topic"] for record in dead} == {b"dataset-built"}
    assert {dict(record.headers)["x-attempts"] for record in dead} == {b"1"}


async def test_a_service_built_twice_in_one_process_consumes_twice(
    broker: Broker, kind: str, tmp_path: Path
) -> None:
    """Two replicas share the partitions; neither takes the other's subscribers."""
    marker = f"twice-{kind}-"
    async with (
        trainer(broker.servers, tmp_path / "one") as (one, first),
        trainer(broker.servers, tmp_path / "two") as (two, second),
        producer(broker.servers) as sender,
    ):
        await eventually(lambda: both_have_partitions(one, two))
        for number in range(30):
            because = f"{marker}{number}"
            await send(sender, factories.dataset(because=because, route=f"acme/route-{number}"))

        async def counts() -> tuple[int, int]:
            return await first.seen_like(marker), await second.seen_like(marker)

        async def all_are_there() -> bool:
            return sum(await counts()) == 30

        await eventually(all_are_there)
        assert all(count > 0 for count in await counts())


async def both_have_partitions(*services: Service[None]) -> bool:
    return all(
        consumer.assignment() for service in services for consumer in service.health.consumers()
    ) and all(list(service.health.consumers()) for service in services)


async def test_what_may_pass_is_tried_again(broker: Broker, kind: str, tmp_path: Path) -> None:
    async with (
        trainer(broker.servers, tmp_path) as (_, effects),
        producer(broker.servers) as sender,
    ):
        effects.failures = 2
        await send(sender, factories.dataset(because=f"flaky-{kind}"))
        await eventually(lambda: effects.seen(f"flaky-{kind}"))
        assert (effects.failures, await effects.seen(f"flaky-{kind}")) == (0, 1)


async def test_a_broker_that_comes_late_is_found_and_nothing_is_lost(
    kind: str, tmp_path: Path
) -> None:
    late = KINDS[kind](tmp_path / "late")
    async with trainer(late.servers, tmp_path) as (service, effects):
        async with service.db.transaction() as tx:
            await service.outbox.add(tx, factories.trained(job_id="written-while-away"))
        await asyncio.sleep(1)
        assert not service.consuming
        assert (await service.ready())["outbox_pending"] == 1
        try:
            await asyncio.to_thread(late.start)
            async with producer(late.servers) as sender:
                await send(sender, factories.dataset(because="late"))
            await eventually(lambda: effects.seen("late"))
            await eventually(lambda: drained(service))
            published = await everything_on(late.servers, "adapter-trained")
            assert sum(b"written-while-away" in record.value for record in published) == 1
        finally:
            await asyncio.to_thread(late.stop)


@pytest.mark.faults
async def test_told_to_stop_while_the_log_is_silent_it_does_not_wait_for_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.service, "STOP_SECONDS", 3.0)
    with KINDS[kind](tmp_path / "own") as own:
        async with (
            trainer(own.servers, tmp_path) as (service, effects),
            producer(own.servers) as sender,
        ):
            await send(sender, factories.dataset(because="before"))
            await sender.stop()
            await eventually(lambda: effects.seen("before"))
            await eventually(lambda: drained(service))
            own.process.send_signal(signal.SIGSTOP)
            async with service.db.transaction() as tx:
                await service.outbox.add(tx, factories.trained(job_id="written-while-away"))
            await asyncio.sleep(4)  # a heartbeat, a fetch and a batch are on their way
            told = time.monotonic()
        took = time.monotonic() - told
        own.kill()
    assert took < 3 + CLOSE_SECONDS + 4


def test_its_stopping_fits_in_what_an_orchestrator_grants() -> None:
    granted = 45  # seconds; Kubernetes then kills
    assert granted > shared.service.REQUEST_SECONDS + shared.service.STOP_SECONDS + CLOSE_SECONDS

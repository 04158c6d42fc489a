"""Row 5: every event a second time, and every topic from its first offset again: not one byte of
any service's state changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from sqlalchemy import MetaData, select

from infra.topics import lag, planned
from schemas.topics import SERVICES, consumed_by
from shared.storage.db import Database
from tests.faults.scenario import run_scenario, seed_of_this_run
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
# and of jobs, the lease that is renewed
PLUMBING = {
    "inbox",
    "outbox",
    "witness",
    "relay_lease",
    "alembic_version",
}
READ_SECONDS = 60.0


async def state_of(url: str) -> dict[str, str]:
    """A hash of each table's rows."""
    db = Database(url)
    metadata = MetaData()
    try:
        async with db.read() as connection:
            await connection.run_sync(metadata.reflect)
            return {
                table.name: digest([tuple(row) for row in await connection.execute(select(table))])
                for table in metadata.sorted_tables
                if table.name not in PLUMBING
            }
    finally:
        await db.close()


def digest(rows: list[tuple]) -> str:
    return (
        f"{len(rows)} rows,"
        f" {hashlib.sha256(repr(sorted(map(repr, rows))).encode()).hexdigest()[:16]}"
    )


async def states(world: World) -> dict[str, dict[str, str]]:
    return {service: await state_of(url) for service, url in world.databases.items()}


async def everything_again(servers: str, times: int) -> int:
    """The same bytes under the same keys and headers, in the same order."""
    partitions = [
        TopicPartition(plan.name, number)
        for plan in planned()
        for number in range(plan.partitions)
        if not plan.name.endswith("-dlq")
    ]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    records = []
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while [at for at in partitions if await consumer.position(at) < ends[at]]:
            for some in (await consumer.getmany(timeout_ms=300)).values():
                records += some
    finally:
        await consumer.stop()
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for record in [record for record in records for _ in range(times)]:
            await producer.send(
                record.topic,
                record.value,
                key=record.key,
                headers=list(record.headers),
                partition=record.partition,
            )
        await producer.flush()
    return len(records)


async def from_the_beginning(world: World, service: str) -> int:
    """In the name of the member that stopped: a static member keeps its place in the group until
    its session ends.
    """
    again = 0
    for topic in consumed_by(service):
        consumer = AIOKafkaConsumer(
            topic.name,
            bootstrap_servers=world.servers,
            group_id=f"{service}.{topic.name}",
            group_instance_id=f"faults-{service}",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            async with asyncio.timeout(READ_SECONDS):
                while len(consumer.assignment()) < topic.partitions:
                    await asyncio.sleep(0.1)
            begin = await consumer.beginning_offsets(consumer.assignment())
            again += sum(
                [(await consumer.committed(at) or 0) - offset for at, offset in begin.items()]
            )
            await consumer.commit(begin)
        finally:
            await consumer.stop()
    return again


async def until_read(servers: str) -> None:
    async with asyncio.timeout(READ_SECONDS):
        while any(
            behind
            for topics in (await asyncio.to_thread(lag, servers)).values()
            for behind in topics.values()
        ):
            await asyncio.sleep(0.5)


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_every_event_again_and_every_topic_from_its_beginning(
    broker: Broker, new_world: NewWorld
) -> None:
    async with new_world(broker.servers) as world:
        outcome = await run_scenario(
            world,
            seed_of_this_run(15),
            lambda _: world.until_published("evaluator", "adapter-evaluated"),
        )
        outcome.must_hold()
        assert outcome.verdict.numbers["adapter-trained"] > 0, outcome.explain()
        await until_read(broker.servers)
        before = await states(world)

        repeated = await everything_again(broker.servers, times=2)
        await until_read(broker.servers)
        assert await states(world) == before, "a repeated event changed something"

        for service in SERVICES:
            await world.stop(service, signal.SIGTERM)
        again = sum([await from_the_beginning(world, service) for service in SERVICES])
        await world.start_all()
        await until_read(broker.servers)
        assert await states(world) == before, "reading a topic again changed something"
    assert again > repeated
    print(
        f"{repeated} events came twice more, then {again} were read again from the beginning: no"
        " table changed"
    )

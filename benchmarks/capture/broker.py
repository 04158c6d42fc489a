"""The event log of a run: the embedded broker beside the load generator, and how far each topic has
grown.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.capture.processes import LOAD_CORE, Pinned, Process
from infra.local.broker import embedded
from infra.local.home import Home
from infra.local.ports import free_port
from infra.topics import BrokerAway, ProvisioningFailed, provision
from schemas.base import Event
from shared.events import cloudevent_headers

RAM = Path("/dev/shm")  # noqa: S108
START_SECONDS = 60.0
POLL_SECONDS = 0.02


@contextmanager
def running(folder: Path, core: int | None = LOAD_CORE) -> Iterator[str]:
    """Address of an embedded broker with every topic, on one core or on any.

    It writes all it holds to its disk every two seconds: of 60,000 events that is 100 MB, and who
    flushes to the same disk then waits 60 ms. In production the log has a disk of its own; here its
    files are in memory.
    """
    port = free_port()
    with (
        tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None) as data,
        process(command(data, port), folder, core),
    ):
        wait_until_provisioned(f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}"


def process(argv: tuple[str, ...], folder: Path, core: int | None) -> Process:
    if core is None:
        return Process("broker", argv, folder)
    return Pinned("broker", argv, folder, core)


def command(data: str, port: int) -> tuple[str, ...]:
    return embedded(Home(Path(data)), port, os.environ).argv


def wait_until_provisioned(servers: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            provision(servers)
            return
        except (BrokerAway, ProvisioningFailed):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


async def publish(servers: str, event: Event, service: str = "router") -> None:
    headers = [(name, value.encode()) for name, value in cloudevent_headers(event, service).items()]
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        await producer.send_and_wait(
            event.topic_name(),
            event.model_dump_json().encode(),
            key=event.route.encode(),
            headers=headers,
        )


class Growth:
    """How many records a topic holds."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        self.consumer = consumer
        self.partitions = partitions

    async def records(self) -> int:
        return sum((await self.consumer.end_offsets(self.partitions)).values())

    async def reaches(self, count: int, patience: float = 300.0) -> None:
        async with asyncio.timeout(patience):
            while await self.records() < count:
                await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def watching(servers: str, topic: str, partitions: int) -> AsyncIterator[Growth]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    try:
        # not assigned to it: then it would fetch, and its fetches would cost the core of the load
        # generator
        yield Growth(consumer, [TopicPartition(topic, number) for number in range(partitions)])
    finally:
        await consumer.stop()

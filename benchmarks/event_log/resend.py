"""The outbox fills an embedded log that forgot: how long, with how much memory, and is it whole."""

from __future__ import annotations

import asyncio
import resource
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import MetaData

from schemas.base import uuid7
from schemas.topics import INFERENCE_RECORDED
from shared.events import Outbox, event_id_of, rendered
from shared.service import Service
from shared.settings import ServiceSettings
from shared.storage import Database
from tests import factories
from tests.kafka import EmbeddedBroker

PATIENCE_SECONDS = 900
CHUNK = 2000
TEXT = "a question of the usual length " * 20


async def resend(events: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as work, EmbeddedBroker(Path(work) / "log") as log:
        async with capture(log.servers, Path(work)) as service:
            wanted = await fill(service, events)
            published = await until_sent(service)
            log.kill()
            # The worst that it can do; mostly it has half of it or more on disk.
            shutil.rmtree(log.folder / "data")
            await asyncio.to_thread(log.start)
            began = time.monotonic()
            # Whoever has an event to send finds the loss.
            wanted |= await fill(service, 1)
            await until_sent(service)
            seconds = time.monotonic() - began
            # before this process reads the whole log itself
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            there = await ids_in(log.servers)
    return {
        "events": events,
        "s to publish": round(published),
        "lost by the log": f"{events:,}",
        "s to send again": round(seconds),
        "lost for good": len(wanted - there),
        "peak MB of the service": peak,
    }


@asynccontextmanager
async def capture(servers: str, folder: Path) -> AsyncIterator[Service[None]]:
    """The write side of a service and nothing else of it."""
    settings = ServiceSettings(
        kafka_bootstrap_servers=servers,
        database_url=f"sqlite+aiosqlite:///{folder}/capture.db",
        keys_file=folder / "keys.json",
    )
    metadata = MetaData()
    db = Database(settings.database_url)
    service = Service(
        "capture", settings, metadata, {}, [], db, Outbox("capture", metadata), parts=None
    )
    async with service.api.router.lifespan_context(service.api):
        yield service


async def fill(service: Service[None], events: int) -> set[str]:
    like = rendered(factories.inference(input=TEXT), "capture")
    ids = set()
    for begin in range(0, events, CHUNK):
        rows = []
        for number in range(begin, min(begin + CHUNK, events)):
            event_id = str(uuid7())
            headers = like.headers.replace(like.id, event_id)
            payload = like.payload.replace(like.id.encode(), event_id.encode())
            key = f"acme/route-{number % 48}"
            rows.append(
                like._replace(id=event_id, aggregateid=key, headers=headers, payload=payload)
            )
            ids.add(event_id)
        async with service.db.transaction() as tx:
            await service.outbox.add_rendered(tx, rows)
    return ids


async def until_sent(service: Service[None]) -> float:
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Twice in a row: between the two the relay may have found a loss.
        quiet = 0
        while quiet < 2:
            quiet = 0 if await service.relay.pending() else quiet + 1
            await asyncio.sleep(1)
    return time.monotonic() - began


async def ids_in(servers: str) -> set[str]:
    every = [
        TopicPartition(INFERENCE_RECORDED.name, number)
        for number in range(INFERENCE_RECORDED.partitions)
    ]
    found: set[str] = set()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign(every)
        ends = await consumer.end_offsets(every)
        while any([await consumer.position(at) < ends[at] for at in every]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found |= {event_id_of(record) for record in records}
    finally:
        await consumer.stop()
    return found

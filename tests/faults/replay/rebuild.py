"""Feeds a part of the log to a service's real handlers over a scratch database.

    python -m tests.faults.replay.rebuild < order.json

It says {"fed": N} on stdout from time to time. It is a process of its own, so that nothing of the
parent's is shared with the service. Handlers, bus, inbox and rules are those of production; relay,
workers and HTTP are not started, so that nothing is published and no job is done.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import ConsumerRecord
from faststream._internal.endpoint.subscriber import SubscriberUsecase
from sqlalchemy import MetaData, select

from infra.operations.accounts import digest
from infra.operations.log import Span, records
from schemas.base import JsonObject
from shared.clock import utc
from shared.events import (
    BATCH,
    DEAD_LETTERED,
    HANDLED,
    Partition,
    brake,
    consume,
    event_id_of,
    event_tables,
)
from shared.service import Service
from shared.storage import Database
from shared.telemetry import configure_logging
from tests.faults.replay.order import in_order

Feed = Callable[[tuple[ConsumerRecord, ...]], Awaitable[Any]]


async def rebuild(order: JsonObject) -> None:
    service = build(order["service"])
    memory = await remembered(order["live"])
    # A handler that waits for an event of another topic would wait in vain: nothing comes but what
    # we feed.
    consume.MAX_ATTEMPTS = 1
    # Those that came before what they need are fed again at the end; nothing pauses meanwhile.
    brake.RUN = math.inf
    brake.SHARE = math.inf
    await service.db.create_tables(service.metadata)
    # The first half of `start`; the second would connect.
    service.broker._setup_logger()
    try:
        feeds = {
            topic: feed
            for one in service.broker.subscribers
            for topic, feed in (await started(one)).items()
        }
        spans = {
            Partition(topic, number): Span(begin, end)
            for topic, number, begin, end in order["spans"]
        }
        await feed_all(feeds, in_order(order["servers"], spans, memory.when), memory)
        if waiting := await dead_letters(service):
            await feed_again(feeds, records(order["servers"], spans), waiting, service.name)
    finally:
        await service.db.close()


@dataclass(frozen=True)
class Memory:
    """What the live inbox says of each event: when it was read, and whether it had an effect.

    When they were read is the order that holds across topics.
    """

    read_at: Mapping[bytes, float]
    undone: frozenset[bytes]

    def when(self, record: ConsumerRecord) -> float:
        """Return when it was read; by the log's clock where the inbox does not know it."""
        return self.read_at.get(name_of(record), record.timestamp / 1000)


async def remembered(url: str) -> Memory:
    inbox = event_tables(MetaData()).inbox
    db = Database(url)
    read_at = {}
    undone = set()
    async with db.read() as connection:
        rows = await connection.stream(
            select(inbox.c.topic, inbox.c.event_id, inbox.c.received_at, inbox.c.outcome)
        )
        async for topic, event_id, received_at, outcome in rows:
            name = digest(f"{topic}/{event_id}")
            read_at[name] = utc(received_at).timestamp()
            if outcome != HANDLED:
                undone.add(name)
    await db.close()
    return Memory(read_at, frozenset(undone))


def name_of(record: ConsumerRecord) -> bytes:
    return digest(f"{record.topic}/{event_id_of(record)}")


async def feed_all(
    feeds: dict[str, Feed], found: AsyncIterator[ConsumerRecord], memory: Memory
) -> None:
    fed = 0
    async for some in batches(found):
        chosen = tuple(record for record in some if name_of(record) not in memory.undone)
        if chosen:
            await feeds[chosen[0].topic](chosen)
        fed += len(some)
        tell(fed)
    tell(fed)


async def feed_again(
    feeds: dict[str, Feed], found: AsyncIterator[ConsumerRecord], names: set[bytes], service: str
) -> None:
    """Feed again what came before an event of another topic that it needed, as retries do."""
    again = ("x-replay", service.encode())
    async for record in found:
        if name_of(record) in names:
            await feeds[record.topic]((replace(record, headers=(*record.headers, again)),))


async def dead_letters(service: Service[Any]) -> set[bytes]:
    inbox = service.outbox.tables.inbox
    async with service.db.read() as connection:
        rows = await connection.execute(
            select(inbox.c.topic, inbox.c.event_id).where(inbox.c.outcome == DEAD_LETTERED)
        )
        return {digest(f"{topic}/{event_id}") for topic, event_id in rows}


async def batches(
    records: AsyncIterator[ConsumerRecord],
) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """Group neighbours of one topic, which share a transaction, as they do in production."""
    some: list[ConsumerRecord] = []
    async for record in records:
        if some and (record.topic != some[0].topic or len(some) == BATCH):
            yield some
            some = []
        some.append(record)
    if some:
        yield some


def build(name: str) -> Service[Any]:
    package = f"services.{name.replace('-', '_')}"
    settings = importlib.import_module(f"{package}.settings").Settings()
    return importlib.import_module(f"{package}.app").build(settings)


async def started(subscriber: Any) -> dict[str, Feed]:
    """Start a subscriber as FastStream does, but without its consumer, so that nothing commits."""
    await SubscriberUsecase.start(subscriber)
    return dict.fromkeys(subscriber.topic_names_for_subscribe, subscriber.process_message)


def tell(fed: int) -> None:
    print(json.dumps({"fed": fed}), flush=True)


if __name__ == "__main__":
    configure_logging("CRITICAL", "json")
    asyncio.run(rebuild(json.load(sys.stdin)))

"""Feeds a part of the log to a service's real handlers over a scratch database: a child process of `ratchet replay`.

    python -m infra.operations.rebuild < order.json      says {"fed": N} on stdout from time to time

A process of its own, because infra and services know nothing of each other in code (decision 0015): the service is found by its
name, as `ratchet up` finds it, and nothing of the parent's is shared with it. Its handlers, its bus, its inbox and its rules are
those of production; its relay, its workers and its HTTP are not started, so that it publishes nothing and does no job.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from aiokafka import ConsumerRecord
from faststream._internal.endpoint.subscriber import SubscriberUsecase

from infra.operations.log import Span, in_time_order
from shared import consume
from shared.bus import BATCH
from shared.log_guard import Partition
from shared.service import Service
from shared.telemetry import configure_logging

Feed = Callable[[tuple[ConsumerRecord, ...]], Awaitable[Any]]


async def rebuild(order: dict[str, Any]) -> None:
    service = build(order["service"])
    # A handler that waits for an event of another topic would wait in vain: all that comes is fed by us, in order.
    consume.MAX_ATTEMPTS = 1
    await service.db.create_tables(service.metadata)
    service.broker._setup_logger()  # noqa: SLF001 - the first half of `start`; the second would connect
    try:
        feeds = {
            topic: feed
            for subscriber in service.broker.subscribers
            for topic, feed in (await started(subscriber)).items()
        }
        spans = {Partition(topic, number): Span(begin, end) for topic, number, begin, end in order["spans"]}
        fed = 0
        async for some in batches(in_time_order(order["servers"], spans)):
            await feeds[some[0].topic](tuple(some))
            fed += len(some)
            tell(fed)
        tell(fed)
    finally:
        await service.db.close()


async def batches(records: AsyncIterator[ConsumerRecord]) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """Neighbours of one topic share a transaction, as they do in production."""
    some: list[ConsumerRecord] = []
    async for record in records:
        if some and (record.topic != some[0].topic or len(some) == BATCH):
            yield some
            some = []
        some.append(record)
    if some:
        yield some


def build(name: str) -> Service:
    package = f"services.{name.replace('-', '_')}"
    settings = importlib.import_module(f"{package}.settings").Settings()
    return importlib.import_module(f"{package}.app").build(settings)


async def started(subscriber: Any) -> dict[str, Feed]:
    """All that FastStream does to start a subscriber, but for its consumer: what it commits goes nowhere."""
    await SubscriberUsecase.start(subscriber)
    return dict.fromkeys(subscriber.topic_names_for_subscribe, subscriber.process_message)


def tell(fed: int) -> None:
    print(json.dumps({"fed": fed}), flush=True)


if __name__ == "__main__":
    configure_logging("CRITICAL", "json")
    asyncio.run(rebuild(json.load(sys.stdin)))

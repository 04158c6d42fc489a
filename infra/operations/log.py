"""Reads the event log as an operator does: spans of topics, one record, the groups' offsets.

Records are read with aiokafka (190,000 a second on one core; kafka-python: 10,000), groups and
offsets with kafka-python's admin client, which knows them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from kafka import TopicPartition as AdminPartition
from kafka.admin import OffsetSpec

from infra.topics import BrokerAway, admin, committed_offsets, offsets, partitions_of
from schemas.topics import TOPICS
from shared.events import LARGEST_MESSAGE, Partition

CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Span:
    """The records of a partition from `begin` up to, and without, `end`."""

    begin: int
    end: int

    def __len__(self) -> int:
        return max(0, self.end - self.begin)

    def __contains__(self, offset: int) -> bool:
        return self.begin <= offset < self.end


@dataclass(frozen=True)
class Survey:
    """What the log holds, and by consumer group the next offset it will read, at one moment."""

    spans: Mapping[Partition, Span] = field(default_factory=dict)
    committed: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def of(self, topic: str) -> dict[Partition, Span]:
        return {at: span for at, span in self.spans.items() if at.topic == topic}


def every_group() -> list[str]:
    return [f"{service}.{topic.name}" for topic in TOPICS for service in topic.consumers]


def survey(servers: str, topics: Iterable[str], groups: Iterable[str] = ()) -> Survey:
    """Read where the topics begin and end, and how far the groups (`<service>.<topic>`) came.

    The groups' offsets are read first: who came further since only did more than we think.
    """
    with admin(servers) as client:
        committed = {
            group: {
                at.partition: offset
                for at, offset in committed_offsets(client, group).items()
                if offset >= 0
            }
            for group in groups
        }
        there = partitions_of(client)
        every = [
            AdminPartition(topic, number)
            for topic in topics
            for number in range(there.get(topic, 0))
        ]
        first = offsets(client, every, OffsetSpec.EARLIEST)
        last = offsets(client, every, OffsetSpec.LATEST)
    return Survey({Partition(*at): Span(first[at], last[at]) for at in every}, committed)


async def survey_if_there(
    servers: str | None, topics: Iterable[str], groups: Iterable[str] = ()
) -> Survey | None:
    """Return None while the event log is away or unknown: the databases still say most of it."""
    if servers is None:
        return None
    try:
        return await asyncio.to_thread(survey, servers, topics, groups)
    except BrokerAway:
        return None


@asynccontextmanager
async def reading(servers: str, spans: Mapping[Partition, Span]) -> AsyncIterator[AIOKafkaConsumer]:
    """Make a consumer of no group, at the beginning of each span: it moves nobody's offsets."""
    quiet()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        client_id="ratchet",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await consumer.start()
        consumer.assign([TopicPartition(*at) for at in spans])
        for at, span in spans.items():
            consumer.seek(TopicPartition(*at), span.begin)
        yield consumer
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerAway(servers, error) from error
    finally:
        await consumer.stop()


async def records(
    servers: str, spans: Mapping[Partition, Span]
) -> AsyncGenerator[ConsumerRecord, None]:
    """Yield every record of the spans, in order within a partition, in none across partitions."""
    left = {at: span for at, span in spans.items() if len(span)}
    if not left:
        return
    async with reading(servers, left) as consumer:
        while left:
            for some in (await consumer.getmany(timeout_ms=200)).values():
                for record in some:
                    if record.offset in spans[Partition(record.topic, record.partition)]:
                        yield record
            for at in [
                at
                for at, span in left.items()
                if await consumer.position(TopicPartition(*at)) >= span.end
            ]:
                consumer.pause(TopicPartition(*at))
                del left[at]


async def record_at(servers: str, at: Partition, offset: int) -> ConsumerRecord | None:
    """Return None when no record stands there any more."""
    span = (await asyncio.to_thread(survey, servers, [at.topic])).spans.get(at)
    if span is None or offset not in span:
        return None
    async with aclosing(records(servers, {at: Span(offset, offset + 1)})) as found:
        async for record in found:
            return record
    return None


@asynccontextmanager
async def publishing(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    quiet()
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        client_id="ratchet",
        acks="all",
        max_request_size=LARGEST_MESSAGE,
    )
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await producer.start()
        yield producer
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerAway(servers, error) from error
    finally:
        await producer.stop()


def quiet() -> None:
    """Keep aiokafka from logging each refused connection; we raise instead."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

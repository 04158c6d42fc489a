"""Publishes outbox rows; builds a new producer after an error.

Not an idempotent producer: a log that crashed may give its id to a second one, whose events it then
takes for repetitions, acknowledges and drops (seen on the embedded log); besides, one can wedge
(aiokafka #1017). What a retry sends twice consumers absorb; one batch per partition is on its way
at a time, so a retry changes no order.

Rows go out as whole record batches, one partition after the other in each: `producer.send` makes a
future, a timer and a wake-up for every record, 21 us of CPU each; this way it is 7, and the order
within a key is that of the rows all the same.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from pydantic_core import from_json

from shared.errors import Retryable
from shared.events.sending import BrokerUnavailable, Delivery, OutboxRow, Place, TopicClosed

LARGEST_MESSAGE = 4 * 1024 * 1024
CLOSE_SECONDS = 5.0
METADATA_SECONDS = 5.0
# Longer than a producer tries by itself (40 s): this is for one that no longer answers at all.
SEND_SECONDS = 60.0
# a broker refuses batches over 1 MiB unless told otherwise; a larger event goes alone
BATCH_BYTES = 512 * 1024

# What a log says of a record that it will never take. Kafka's INVALID_RECORD (87: say, no key on a
# compacted topic) is newer than aiokafka's list, and reads as an unknown error.
REFUSALS = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTimestampError,
    PolicyViolationError,
    UnknownError,
)
CLOSED = (TopicAuthorizationFailedError, UnknownTopicOrPartitionError, InvalidTopicError)
MISSING = "is missing: 'ratchet topics create' makes it"
FORBIDDEN = "is forbidden to this service: allow it to write there (ACL)"

Spot = tuple[str, int]
"""Topic and partition."""


class KafkaSender:
    """The Sender of production (sending.py)."""

    def __init__(self, bootstrap_servers: str, client_id: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, rows: Sequence[OutboxRow]) -> Delivery:
        topic = rows[0].aggregatetype
        sendable = [row for row in rows if size_of(row) <= LARGEST_MESSAGE]
        refused = {
            row.seq: f"an event of {size_of(row)} bytes; the log takes {LARGEST_MESSAGE} at most"
            for row in rows
            if size_of(row) > LARGEST_MESSAGE
        }
        places: dict[int, Place] = {}
        error: Retryable | None = None
        try:
            async with asyncio.timeout(SEND_SECONDS):
                producer = await self._started()
                partitions = await partitions_of(producer, topic)
                by_spot: dict[Spot, list[OutboxRow]] = {}
                for row in sendable:
                    by_spot.setdefault(spot_of(row, partitions), []).append(row)
                results = await asyncio.gather(
                    *(
                        self._send_to(producer, spot, some, places, refused)
                        for spot, some in by_spot.items()
                    ),
                    return_exceptions=True,
                )
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
        except TopicClosed as closed:
            error = closed
        except (KafkaError, OSError, TimeoutError) as failure:
            error = await self._meaning(topic, failure)
            if isinstance(error, BrokerUnavailable):
                await self.close()
        return Delivery(places, refused, error)

    async def _send_to(
        self,
        producer: AIOKafkaProducer,
        spot: Spot,
        rows: Sequence[OutboxRow],
        places: dict[int, Place],
        refused: dict[int, str],
    ) -> None:
        """Send one batch after the other, and note the place of each row or why it is refused.

        Were the next already queued, it would arrive although this one failed, and before it.
        """
        for some, batch in batches(producer, rows):
            topic, partition = spot
            try:
                acked = await (await producer.send_batch(batch, topic, partition=partition))
            except REFUSALS as refusal:
                if len(some) == 1:
                    refused[some[0].seq] = f"{type(refusal).__name__}: {refusal}"
                    continue
                # One of them it is: the halves tell which, in a few more requests.
                half = len(some) // 2
                await self._send_to(producer, spot, some[:half], places, refused)
                await self._send_to(producer, spot, some[half:], places, refused)
                continue
            for number, row in enumerate(some):
                places[row.seq] = Place(partition, acked.offset + number)

    async def _meaning(self, topic: str, failure: Exception) -> Retryable:
        """Say whether the topic is closed or the log away.

        A topic that was deleted while its rows were on their way ends as a timeout.
        """
        if isinstance(failure, CLOSED):
            is_forbidden = isinstance(failure, TopicAuthorizationFailedError)
            return TopicClosed(topic, FORBIDDEN if is_forbidden else MISSING)
        if self._producer is not None and isinstance(failure, KafkaError):
            try:
                await partitions_of(self._producer, topic, anew=True)
            except TopicClosed as closed:
                return closed
            except (KafkaError, OSError, TimeoutError):
                pass
        return BrokerUnavailable(failure)

    async def close(self) -> None:
        producer = self._producer
        self._producer = None
        if producer:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await producer.stop()
            except (KafkaError, OSError, TimeoutError):
                pass

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap_servers,
                    client_id=self._client_id,
                    acks="all",
                    compression_type="lz4",
                    max_batch_size=BATCH_BYTES,
                    max_request_size=LARGEST_MESSAGE,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer


async def partitions_of(
    producer: AIOKafkaProducer, topic: str, anew: bool = False
) -> Sequence[int]:
    """Return a topic's partitions. Raises TopicClosed when the log answers and has none.

    The producer's own question waits 40 s for a topic that is missing, and cannot tell it from a
    log that is away.
    """
    client = producer.client
    known = client.cluster.partitions_for_topic(topic)
    if known and not anew:
        return sorted(known)
    client.add_topic(topic)
    async with asyncio.timeout(METADATA_SECONDS):
        # One that was on its way may have asked for other topics.
        answered = await client.force_metadata_update() and await client.force_metadata_update()
    if known := client.cluster.partitions_for_topic(topic):
        return sorted(known)
    if topic in client.cluster.unauthorized_topics:
        raise TopicClosed(topic, FORBIDDEN)
    if answered:
        raise TopicClosed(topic, MISSING)
    raise BrokerUnavailable(ConnectionError("no metadata"))


def batches(
    producer: AIOKafkaProducer, rows: Sequence[OutboxRow]
) -> Iterator[tuple[list[OutboxRow], BatchBuilder]]:
    """Yield as few batches as hold the rows, each with its rows.

    A batch takes its first record however large it is.
    """
    batch = producer.create_batch()
    held: list[OutboxRow] = []
    for row in rows:
        if not append(batch, row):
            batch.close()
            yield held, batch
            batch = producer.create_batch()
            held = []
            append(batch, row)
        held.append(row)
    batch.close()
    yield held, batch


def size_of(row: OutboxRow) -> int:
    """Return about how many bytes a row takes in the log."""
    return len(row.payload or b"") + len(row.headers) + len(row.aggregateid or "")


def append(batch: BatchBuilder, row: OutboxRow) -> bool:
    key = row.aggregateid.encode() if row.aggregateid else None
    return (
        batch.append(timestamp=None, key=key, value=row.payload, headers=headers_of(row))
        is not None
    )


def spot_of(row: OutboxRow, partitions: Sequence[int]) -> Spot:
    """Choose the partition that Kafka's own clients would choose."""
    if not row.aggregateid:
        return row.aggregatetype, random.choice(partitions)
    return row.aggregatetype, partitions[key_hash(row.aggregateid) % len(partitions)]


@lru_cache(10_000)
def key_hash(key: str) -> int:
    hashed: int = murmur2(key.encode())
    return hashed & 0x7FFFFFFF


def headers_of(row: OutboxRow) -> list[tuple[str, bytes]]:
    try:
        headers = from_json(row.headers)
    # half of a surrogate pair, say in the text of an error: it must not stop all that comes after
    # it
    except ValueError:
        headers = json.loads(row.headers)
    return [
        ("id", row.id.encode()),
        *(
            (name, value.encode("utf-8", "replace"))
            for name, value in headers.items()
            if name != "id"
        ),
    ]

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
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from pydantic_core import from_json

from shared.events.outbox import BrokerUnavailable, OutboxRow, Place

LARGEST_MESSAGE = 4 * 1024 * 1024
CLOSE_SECONDS = 5.0
# a broker refuses batches over 1 MiB unless told otherwise; a larger event goes alone
BATCH_BYTES = 512 * 1024

Spot = tuple[str, int]
"""Topic and partition."""


class KafkaSender:
    """The Sender of production (outbox.py)."""

    def __init__(self, bootstrap_servers: str, client_id: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None

    async def send(self, rows: Sequence[OutboxRow]) -> list[Place]:
        try:
            producer = await self._started()
            partitions = {
                topic: sorted(await producer.partitions_for(topic))
                for topic in {row.aggregatetype for row in rows}
            }
            by_spot: dict[Spot, list[OutboxRow]] = {}
            for row in rows:
                by_spot.setdefault(spot_of(row, partitions[row.aggregatetype]), []).append(row)
            sent = await asyncio.gather(
                *(self._send_to(producer, spot, some) for spot, some in by_spot.items())
            )
            places = {seq: place for some in sent for seq, place in some}
            return [places[row.seq] for row in rows]
        except (KafkaError, OSError) as error:
            await self.close()
            raise BrokerUnavailable(error) from error

    async def _send_to(
        self, producer: AIOKafkaProducer, spot: Spot, rows: Sequence[OutboxRow]
    ) -> list[tuple[int, Place]]:
        """Send one batch after the other.

        Were the next already queued, it would arrive although this one failed, and before it.
        """
        topic, partition = spot
        places = []
        for some, batch in batches(producer, rows):
            acked = await (await producer.send_batch(batch, topic, partition=partition))
            places += [
                (row.seq, Place(partition, acked.offset + number))
                for number, row in enumerate(some)
            ]
        return places

    async def close(self) -> None:
        producer = self._producer
        self._producer = None
        if producer:
            try:
                await asyncio.wait_for(producer.stop(), CLOSE_SECONDS)
            except (KafkaError, OSError, TimeoutError):
                pass

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                client_id=self._client_id,
                acks="all",
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

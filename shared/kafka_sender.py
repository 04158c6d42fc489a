"""Publishes outbox rows with an idempotent producer; builds a new producer after an error (aiokafka #1017: one can wedge)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.outbox import BrokerUnavailable, OutboxRow, Place

LARGEST_MESSAGE = 4 * 1024 * 1024


class KafkaSender:
    """The Sender of production (outbox.py)."""

    def __init__(self, bootstrap_servers: str, client_id: str) -> None:
        self._bootstrap_servers, self._client_id = bootstrap_servers, client_id
        self._producer: AIOKafkaProducer | None = None

    async def send(self, rows: Sequence[OutboxRow]) -> list[Place]:
        try:
            producer = await self._started()
            # Appending in order keeps the order within a partition; awaiting each ack alone would cost a round trip per event.
            acks = [await producer.send(row.aggregatetype, value=row.payload, key=row.aggregateid.encode() if row.aggregateid else None,
                                        headers=headers_of(row)) for row in rows]  # fmt: skip
            return [Place(ack.partition, ack.offset) for ack in await asyncio.gather(*acks)]
        except (KafkaError, OSError) as error:
            await self.close()
            raise BrokerUnavailable(error) from error

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer:
            try:
                await asyncio.wait_for(producer.stop(), 5)
            except (KafkaError, OSError, TimeoutError):
                pass

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap_servers, client_id=self._client_id, enable_idempotence=True,
                                        acks="all", linger_ms=2, max_request_size=LARGEST_MESSAGE)  # fmt: skip
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer


def headers_of(row: OutboxRow) -> list[tuple[str, bytes]]:
    return [("id", row.id.encode()), *((name, value.encode()) for name, value in json.loads(row.headers).items() if name != "id")]

"""The event log as our services use it: FastStream with every default that loses data overridden, in this one place.

Numbers in brackets refer to the reliability page: ACK_FIRST commits before the handler ran [A1], `latest` skips what a
new group has not seen [A1], NACK alone spins on a poison message for ever [A2], FastStream's message_id is not unique [A2].
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faststream import AckPolicy, BaseMiddleware, Context
from faststream.kafka import KafkaBroker, KafkaRouter
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import Topic
from shared.db import Database
from shared.errors import Fatal, RatchetError
from shared.outbox import BrokerUnavailable, Outbox, OutboxRow
from shared.pacing import pace_empty_fetches
from shared.settings import ServiceSettings
from shared.telemetry import EVENT_SECONDS, EVENTS_HANDLED, log

MAX_ATTEMPTS = 5
FIRST_BACKOFF = 0.2  # seconds; doubles, so five attempts stay under 10 s, far below max_poll_interval (300 s)
SESSION_TIMEOUT_MS = 15_000  # how long a killed consumer's partitions wait; handlers never block the loop that long
GRACEFUL_SECONDS = 25.0  # pods need terminationGracePeriodSeconds >= 45

Tx = Annotated[AsyncConnection, Context("tx")]
"""In a handler: the transaction that also holds the inbox entry. Effects and outbox rows go through it."""


def subscribe(router: KafkaRouter, service: str, topic: Topic) -> Callable[..., Any]:
    """Subscribe a handler named `on_<event>`; one consumer group per service and topic, so that lag is told apart."""
    return router.subscriber(
        topic.name, group_id=f"{service}.{topic.name}", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR,
        session_timeout_ms=SESSION_TIMEOUT_MS, heartbeat_interval_ms=SESSION_TIMEOUT_MS // 5,
        max_poll_interval_ms=300_000, rebalance_timeout_ms=SESSION_TIMEOUT_MS, fetch_max_wait_ms=100,
        max_partition_fetch_bytes=4 * 1024 * 1024, title=f"{service}:{topic.name}",
    )  # fmt: skip


def make_broker(settings: ServiceSettings, service: str, db: Database, outbox: Outbox) -> KafkaBroker:
    """A broker that consumes safely. Publishing goes through the outbox and its relay, never through the broker."""
    pace_empty_fetches()
    return KafkaBroker(
        settings.kafka_bootstrap_servers, client_id=service, ack_policy=AckPolicy.NACK_ON_ERROR,
        allow_auto_create_topics=False, enable_idempotence=True, graceful_timeout=GRACEFUL_SECONDS,
        middlewares=[lambda msg, context: ReliableConsume(msg, context=context, db=db, outbox=outbox)], logger=None,
    )  # fmt: skip


def name_members(broker: KafkaBroker, instance: str | None) -> None:
    """Static membership (KIP-345): a killed consumer that comes back under its name rejoins in 0.04 s instead of after the
    session timeout, and the embedded event log, which never expires a dead member, lets it in at all. FastStream takes the
    name only where a subscriber is declared, which is before settings are read; hence its private dictionary.
    """
    for subscriber in broker.subscribers:
        subscriber._connection_args["group_instance_id"] = instance  # noqa: SLF001


class ReliableConsume(BaseMiddleware):
    """Runs a handler inside one transaction with the inbox entry; retries what may pass; dead-letters what will not.

    Returning normally acknowledges the message. Only a failure to commit (or to dead-letter) is raised, and nacks.
    """

    def __init__(self, msg: Any, /, *, context: Any, db: Database, outbox: Outbox) -> None:
        super().__init__(msg, context=context)
        self.db, self.outbox = db, outbox
        self.log = log("bus")

    async def consume_scope(self, call_next: Callable[[Any], Any], msg: Any) -> None:
        record = msg.raw_message
        event_id = msg.headers.get("ce_id") or f"{record.topic}/{record.partition}/{record.offset}"
        with EVENT_SECONDS.labels(record.topic).time():
            for attempt in range(1, MAX_ATTEMPTS + 1):
                try:
                    outcome = await self._digest(call_next, msg, record.topic, event_id)
                    EVENTS_HANDLED.labels(record.topic, outcome).inc()
                    return
                except Fatal:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever a handler raises must end in a retry or in the DLQ
                    if is_retryable(error) and attempt < MAX_ATTEMPTS:
                        await asyncio.sleep(FIRST_BACKOFF * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))
                        continue
                    await self._dead_letter(record, event_id, error, attempt)
                    return

    async def _digest(self, call_next: Callable[[Any], Any], msg: Any, topic: str, event_id: str) -> str:
        async with self.db.transaction() as tx:
            if not await self.outbox.first_time(tx, topic, event_id):
                return "duplicate"
            with self.context.scope("tx", tx):
                await call_next(msg)
        return "handled"

    async def _dead_letter(self, record: Any, event_id: str, error: Exception, attempts: int) -> None:
        self.log.error("dead-lettered", topic=record.topic, event_id=event_id, error=type(error).__name__, attempts=attempts)
        headers = {key: value.decode("utf-8", "replace") for key, value in record.headers or ()}
        headers |= {
            "x-origin-topic": record.topic, "x-origin-partition": str(record.partition), "x-origin-offset": str(record.offset),
            "x-attempts": str(attempts), "x-error-type": type(error).__name__, "x-error": describe(error)[:500],
            "x-failed-at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        key = record.key.decode("utf-8", "replace") if record.key else None
        async with self.db.transaction() as tx:
            if await self.outbox.first_time(tx, record.topic, event_id):
                await self.outbox.dead_letter(tx, event_id, key, record.value or b"", headers)
        EVENTS_HANDLED.labels(record.topic, "dead-lettered").inc()


def is_retryable(error: BaseException) -> bool:
    """Ours say so themselves; a database that is locked or gone and an unreachable peer may come back."""
    if isinstance(error, RatchetError):
        return error.retryable
    return isinstance(error, OperationalError | ConnectionError | TimeoutError | asyncio.TimeoutError)


def describe(error: Exception) -> str:
    """Where validation failed and why, never the value: DLQ headers and logs carry no content."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
    return str(error)


class KafkaSender:
    """Publishes outbox rows with an idempotent producer; builds a new producer after an error (aiokafka #1017)."""

    def __init__(self, bootstrap_servers: str, client_id: str) -> None:
        self._bootstrap_servers, self._client_id = bootstrap_servers, client_id
        self._producer: AIOKafkaProducer | None = None

    async def send(self, rows: Sequence[OutboxRow]) -> None:
        try:
            producer = await self._started()
            # Appending in order keeps the order within a partition; awaiting each ack alone would cost a round trip per event.
            acks = [await producer.send(row.aggregatetype, value=row.payload, key=row.aggregateid.encode() if row.aggregateid else None,
                                        headers=[(k, v.encode()) for k, v in json.loads(row.headers).items()]) for row in rows]  # fmt: skip
            await asyncio.gather(*acks)
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
                                        acks="all", linger_ms=2, max_request_size=4 * 1024 * 1024)  # fmt: skip
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

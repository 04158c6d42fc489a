"""The event log as our services use it: FastStream with every default that loses data overridden, in this one place.

Numbers in brackets refer to the reliability page: ACK_FIRST commits before the handler ran [A1], `latest` skips what a
new group has not seen [A1], NACK alone spins on a poison message for ever [A2], FastStream's message_id is not unique [A2].
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from aiokafka.errors import KafkaError
from faststream import AckPolicy, BaseMiddleware, Context
from faststream.kafka import KafkaBroker, KafkaRouter
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import Topic
from shared import failpoints
from shared.db import Database
from shared.errors import Fatal, RatchetError
from shared.log_guard import ConsumerGuard, Partition, event_id_of, watch_connections
from shared.outbox import Outbox, Place
from shared.pacing import pace_empty_fetches
from shared.settings import ServiceSettings
from shared.telemetry import COMMIT_FAILURES, EVENT_SECONDS, EVENTS_HANDLED, log

MAX_ATTEMPTS = 10
FIRST_BACKOFF, LONGEST_BACKOFF = 0.2, 15.0  # seconds, doubling: ten attempts take about 55 s, far below max_poll_interval (300 s)
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


def make_broker(settings: ServiceSettings, service: str, db: Database, outbox: Outbox, guard: ConsumerGuard) -> KafkaBroker:
    """A broker that consumes safely. Publishing goes through the outbox and its relay, never through the broker."""
    pace_empty_fetches()
    watch_connections()
    return KafkaBroker(
        settings.kafka_bootstrap_servers, client_id=service, ack_policy=AckPolicy.NACK_ON_ERROR,
        allow_auto_create_topics=False, enable_idempotence=True, graceful_timeout=GRACEFUL_SECONDS,
        middlewares=[lambda msg, context: ReliableConsume(msg, context=context, db=db, outbox=outbox, guard=guard)], logger=None,
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

    def __init__(self, msg: Any, /, *, context: Any, db: Database, outbox: Outbox, guard: ConsumerGuard) -> None:
        super().__init__(msg, context=context)
        self.db, self.outbox, self.guard = db, outbox, guard
        self.log = log("bus")

    async def consume_scope(self, call_next: Callable[[Any], Any], msg: Any) -> None:
        record = msg.raw_message
        if not await self.guard.reads_on(msg.consumer, Partition(record.topic, record.partition)):
            return  # the consumer starts this partition again; acknowledging commits its new position
        count_commit_failures(msg, record.topic)
        with EVENT_SECONDS.labels(record.topic).time():
            outcome = await self._outcome(call_next, msg, event_id_of(record))
        EVENTS_HANDLED.labels(record.topic, outcome).inc()

    async def _outcome(self, call_next: Callable[[Any], Any], msg: Any, event_id: str) -> str:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await self._digest(call_next, msg, event_id)
            except Fatal:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a handler raises must end in a retry or in the DLQ
                if not is_retryable(error) or attempt == MAX_ATTEMPTS:
                    await self._dead_letter(msg, event_id, error, attempt)
                    break
            await asyncio.sleep(min(FIRST_BACKOFF * 2 ** (attempt - 1), LONGEST_BACKOFF) * random.uniform(0.8, 1.2))
        return "dead-lettered"

    async def _digest(self, call_next: Callable[[Any], Any], msg: Any, event_id: str) -> str:
        async with self.db.transaction() as tx:
            if not await self._lets_in(tx, msg, event_id):
                return "duplicate"
            failpoints.reach("handler.before-effect")
            with self.context.scope("tx", tx):
                await call_next(msg)
            failpoints.reach("handler.before-commit")
        failpoints.reach("handler.after-commit")
        return "handled"

    async def _lets_in(self, tx: AsyncConnection, msg: Any, event_id: str) -> bool:
        record = msg.raw_message
        replayed = msg.headers.get("x-replay") == self.outbox.service
        return await self.outbox.first_time(tx, record.topic, event_id, Place(record.partition, record.offset), replayed)

    async def _dead_letter(self, msg: Any, event_id: str, error: Exception, attempts: int) -> None:
        record = msg.raw_message
        self.log.error("dead-lettered", topic=record.topic, event_id=event_id, error=type(error).__name__, attempts=attempts)
        key = record.key.decode("utf-8", "replace") if record.key else None
        async with self.db.transaction() as tx:
            if await self._lets_in(tx, msg, event_id):
                await self.outbox.dead_letter(tx, record.topic, event_id, key, record.value, dead_letter_headers(record, error, attempts))


def dead_letter_headers(record: Any, error: Exception, attempts: int) -> dict[str, str]:
    """What came, where it stood, and why it could not be digested."""
    headers = {key: value.decode("utf-8", "replace") for key, value in record.headers or () if key != "x-replay"}
    origin = {"topic": record.topic, "partition": str(record.partition), "offset": str(record.offset)}
    origin |= {"key": record.key.hex()} if record.key is not None else {}
    return headers | {f"x-origin-{name}": value for name, value in origin.items()} | {
        "x-attempts": str(attempts), "x-error-type": type(error).__name__, "x-error": describe(error)[:500],
        "x-failed-at": datetime.now(UTC).isoformat(),
    }  # fmt: skip


def count_commit_failures(msg: Any, topic: str) -> None:
    """FastStream logs a failed commit and goes on [A2]: right, since the inbox absorbs what comes again, but somebody should know."""
    acknowledge = msg.ack

    async def counted() -> None:
        try:
            await acknowledge()
        except KafkaError:
            COMMIT_FAILURES.labels(topic).inc()
            raise

    msg.ack = counted


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

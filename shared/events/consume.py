"""Digests events: effect and inbox entry in one transaction, bounded retries for what may pass, the
DLQ for what will not.

Events that arrive together share a transaction, which costs one flush to disk and one commit of
offsets instead of one each. When it fails, each of them is tried alone, so that a bad event harms
no other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faststream import BaseMiddleware
from faststream.kafka import KafkaMessage
from faststream.message import decode_message
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import failpoints
from shared.errors import Fatal, RatchetError, Retryable
from shared.events.log_guard import ConsumerGuard, Partition, event_id_of
from shared.events.outbox import Outbox, Place
from shared.storage.db import Database
from shared.telemetry import COMMIT_FAILURES, EVENT_SECONDS, EVENTS_HANDLED, log

MAX_ATTEMPTS = 10
# seconds, doubling: ten attempts take about 55 s
FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 15.0
# with the 55 s of the event that was begun before it ends, far below max_poll_interval (300 s)
PATIENCE_SECONDS = 120.0
Handler = Callable[[KafkaMessage], Awaitable[Any]]


class TooSlow(Retryable):
    def __init__(self, left: int) -> None:
        super().__init__(
            f"{left} events of this batch are left for the next one: those before them took their"
            " time"
        )


class ReliableConsume(BaseMiddleware):
    """Returning normally acknowledges the batch. Only a failure to commit (or to dead-letter) is
    raised, and nacks: all come again.
    """

    def __init__(
        self, msg: Any, /, *, context: Any, db: Database, outbox: Outbox, guard: ConsumerGuard
    ) -> None:
        super().__init__(msg, context=context)
        self.db = db
        self.outbox = outbox
        self.guard = guard
        self.log = log("bus")

    async def consume_scope(self, call_next: Handler, msg: KafkaMessage) -> None:
        """`msg` holds the records of one topic that arrived together; the handler sees them one at
        a time.
        """
        lost = await self.guard.lost(
            msg.consumer, {Partition(record.topic, record.partition) for record in msg.raw_message}
        )
        events = [
            single(record, msg.consumer)
            for record in msg.raw_message
            if (record.topic, record.partition) not in lost
        ]
        if not events:
            # the log was lost: the consumer begins it again, and acknowledging commits its new
            # position
            return
        topic = events[0].raw_message.topic
        count_commit_failures(msg, topic)
        with EVENT_SECONDS.labels(topic).time():
            outcomes = await self._together(call_next, events) or await self._one_by_one(
                call_next, events
            )
        for outcome in outcomes:
            EVENTS_HANDLED.labels(topic, outcome).inc()

    async def _together(self, call_next: Handler, events: Sequence[KafkaMessage]) -> list[str]:
        """One transaction for all; nothing, when it failed."""
        if len(events) == 1:
            return []
        try:
            async with self.db.transaction() as tx:
                outcomes = [await self._digest(tx, call_next, event) for event in events]
        except Fatal:
            raise
        # which of them it was will show when they are tried alone
        except Exception as error:  # noqa: BLE001
            self.log.debug("batch failed", error=type(error).__name__)
            return []
        failpoints.reach("handler.after-commit")
        return outcomes

    async def _one_by_one(self, call_next: Handler, events: Sequence[KafkaMessage]) -> list[str]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        outcomes = []
        for event in events:
            if time.monotonic() > deadline:
                raise TooSlow(len(events) - len(outcomes))
            outcomes.append(await self._alone(call_next, event))
        return outcomes

    async def _alone(self, call_next: Handler, event: KafkaMessage) -> str:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                async with self.db.transaction() as tx:
                    outcome = await self._digest(tx, call_next, event)
                failpoints.reach("handler.after-commit")
                return outcome
            except Fatal:
                raise
            # whatever a handler raises must end in a retry or in the DLQ
            except Exception as error:  # noqa: BLE001
                if not is_retryable(error) or attempt == MAX_ATTEMPTS:
                    await self._dead_letter(event, error, attempt)
                    break
            await asyncio.sleep(
                min(FIRST_BACKOFF * 2 ** (attempt - 1), LONGEST_BACKOFF) * random.uniform(0.8, 1.2)
            )
        return "dead-lettered"

    async def _digest(self, tx: AsyncConnection, call_next: Handler, event: KafkaMessage) -> str:
        if not await self._lets_in(tx, event):
            return "duplicate"
        failpoints.reach("handler.before-effect")
        with self.context.scope("tx", tx):
            await call_next(event)
        failpoints.reach("handler.before-commit")
        return "handled"

    async def _lets_in(self, tx: AsyncConnection, event: KafkaMessage) -> bool:
        record = event.raw_message
        replayed = event.headers.get("x-replay") == self.outbox.service
        return await self.outbox.first_time(
            tx, record.topic, event.message_id, Place(record.partition, record.offset), replayed
        )

    async def _dead_letter(self, event: KafkaMessage, error: Exception, attempts: int) -> None:
        record = event.raw_message
        event_id = event.message_id
        self.log.error(
            "dead-lettered",
            topic=record.topic,
            event_id=event_id,
            error=type(error).__name__,
            attempts=attempts,
        )
        key = record.key.decode("utf-8", "replace") if record.key else None
        async with self.db.transaction() as tx:
            if await self._lets_in(tx, event):
                await self.outbox.dead_letter(
                    tx,
                    record.topic,
                    event_id,
                    key,
                    record.value,
                    dead_letter_headers(event, error, attempts),
                )


def single(record: ConsumerRecord, consumer: Any) -> KafkaMessage:
    """One record of a batch as a handler reads it. Headers that are not UTF-8 are made so: only
    their original bytes are poison.
    """
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers or ()}
    message = KafkaMessage(
        raw_message=record,
        body=record.value or b"",
        headers=headers,
        content_type=headers.get("content-type"),
        message_id=event_id_of(record),
        correlation_id=headers.get("correlation_id"),
        consumer=consumer,
    )
    message.set_decoder(decoded)
    return message


async def decoded(message: KafkaMessage) -> Any:
    return decode_message(message)


def dead_letter_headers(event: KafkaMessage, error: Exception, attempts: int) -> dict[str, str]:
    """What came, where it stood, and why it could not be digested."""
    record = event.raw_message
    origin = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
    }
    origin |= {"key": record.key.hex()} if record.key is not None else {}
    came = {name: value for name, value in event.headers.items() if name != "x-replay"}
    return (
        came
        | {f"x-origin-{name}": value for name, value in origin.items()}
        | {
            "x-attempts": str(attempts),
            "x-error-type": type(error).__name__,
            "x-error": describe(error)[:500],
            "x-failed-at": datetime.now(UTC).isoformat(),
        }
    )


def is_retryable(error: BaseException) -> bool:
    """Ours say so themselves; a database that is locked or gone and an unreachable peer may come
    back.
    """
    if isinstance(error, RatchetError):
        return error.retryable
    return isinstance(
        error, OperationalError | ConnectionError | TimeoutError | asyncio.TimeoutError
    )


def describe(error: Exception) -> str:
    """Where validation failed and why, never the value: DLQ headers and logs carry no content."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)
        )
    return str(error)


def count_commit_failures(msg: KafkaMessage, topic: str) -> None:
    """FastStream logs a failed commit and goes on [A2]: right, since the inbox absorbs what comes
    again, but somebody should know.
    """
    acknowledge = msg.ack

    async def counted() -> None:
        try:
            await acknowledge()
        except KafkaError:
            COMMIT_FAILURES.labels(topic).inc()
            raise

    msg.ack = counted

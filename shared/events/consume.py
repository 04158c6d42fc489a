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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaMessage
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Event
from schemas.topics import Topic
from shared import failpoints
from shared.clock import now
from shared.describing import describe
from shared.errors import Fatal, RatchetError, Retryable
from shared.events.backlog import BacklogFull
from shared.events.brake import LOOK_SECONDS, Brake, ConsumerPaused
from shared.events.dead_letters import letter_of
from shared.events.log_guard import ConsumerGuard, Partition, event_id_of
from shared.events.outbox import Outbox
from shared.events.sending import Place
from shared.storage import Database
from shared.telemetry import COMMIT_FAILURES, EVENT_SECONDS, EVENTS_HANDLED, log

MAX_ATTEMPTS = 10
# seconds, doubling: ten attempts take about 55 s
FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 15.0
# With the 55 s of the event that was begun before it ends, far below max_poll_interval (300 s).
PATIENCE_SECONDS = 120.0


class Handler(Protocol):
    """Acts on one event within the transaction that also records it as digested."""

    __name__: str

    async def __call__(self, tx: AsyncConnection, event: Any, /) -> None: ...


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Knows whether a consumer is in its group, or still on its way into it."""

    joining = True

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002
        self.joining = True

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:  # noqa: ARG002
        self.joining = False


class TooSlow(Retryable):
    def __init__(self, left: int) -> None:
        super().__init__(
            f"{left} events of this batch are left for the next one: those before them took their"
            " time"
        )


@dataclass(frozen=True)
class Received:
    """One record of a batch, read as far as it can be: `unreadable` says why it is no event."""

    record: ConsumerRecord
    event_id: str
    headers: dict[str, str]
    event: Event | None
    unreadable: ValidationError | None = None

    @property
    def place(self) -> Place:
        return Place(self.record.partition, self.record.offset)

    def is_replayed_for(self, service: str) -> bool:
        """Say whether an operator sent this dead letter once more to `service`."""
        return self.headers.get("x-replay") == service


class TopicConsumer:
    """Digests the events of one topic for one handler."""

    def __init__(
        self, topic: Topic, handler: Handler, db: Database, outbox: Outbox, guard: ConsumerGuard
    ) -> None:
        self.topic = topic
        self.handler = handler
        self.db = db
        self.outbox = outbox
        self.guard = guard
        self.group = f"{outbox.service}.{topic.name}"
        self.membership = Membership()
        self.brake = Brake(db, outbox.tables, topic.name)
        self.log = log("bus")

    async def digest(self, message: KafkaMessage) -> None:
        """Digest a batch; returning normally acknowledges it.

        Only a failure to commit (or to dead-letter) is raised, and nacks: the batch comes again. So
        it does while this consumer is paused.
        """
        await self._wait_for_room()
        await self._wait_while_paused()
        records: Sequence[ConsumerRecord] = message.raw_message
        lost = await self.guard.lost(
            message.consumer, {Partition(record.topic, record.partition) for record in records}
        )
        batch = [
            read_record(self.topic, record)
            for record in records
            if Partition(record.topic, record.partition) not in lost
        ]
        if not batch:
            # The log was lost: the consumer begins it again, and acknowledging commits its new
            # position.
            return
        count_commit_failures(message, self.topic.name)
        with EVENT_SECONDS.labels(self.topic.name).time():
            outcomes = await self._together(batch) or await self._one_by_one(batch)
        for outcome in outcomes:
            EVENTS_HANDLED.labels(self.topic.name, outcome).inc()

    async def _wait_for_room(self) -> None:
        """Read no more while what follows from it could not be kept."""
        try:
            await self.outbox.backlog.check(self.db)
        except BacklogFull:
            await asyncio.sleep(LOOK_SECONDS)
            raise

    async def _wait_while_paused(self) -> None:
        try:
            await self.brake.check()
        except ConsumerPaused:
            await asyncio.sleep(LOOK_SECONDS)
            raise

    async def _together(self, batch: Sequence[Received]) -> list[str]:
        """Digest all in one transaction; return nothing when it failed."""
        if len(batch) == 1:
            return []
        try:
            async with self.db.transaction() as tx:
                outcomes = [await self._act(tx, received) for received in batch]
        except Fatal:
            raise
        # Which of them it was will show when they are tried alone.
        except Exception as error:  # noqa: BLE001
            self.log.debug("batch failed", error=type(error).__name__)
            return []
        failpoints.reach("handler.after-commit")
        return outcomes

    async def _one_by_one(self, batch: Sequence[Received]) -> list[str]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        outcomes: list[str] = []
        for received in batch:
            if time.monotonic() > deadline:
                raise TooSlow(len(batch) - len(outcomes))
            outcomes.append(await self._alone(received))
        return outcomes

    async def _alone(self, received: Received) -> str:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                async with self.db.transaction() as tx:
                    outcome = await self._act(tx, received)
                failpoints.reach("handler.after-commit")
                return outcome
            except Fatal:
                raise
            # Whatever a handler raises must end in a retry or in the DLQ.
            except Exception as error:  # noqa: BLE001
                if not is_retryable(error) or attempt == MAX_ATTEMPTS:
                    await self._dead_letter(received, error, attempt)
                    break
            await asyncio.sleep(
                min(FIRST_BACKOFF * 2 ** (attempt - 1), LONGEST_BACKOFF) * random.uniform(0.8, 1.2)
            )
        return "dead-lettered"

    async def _act(self, tx: AsyncConnection, received: Received) -> str:
        """Let the handler act, unless it did before."""
        if received.unreadable:
            raise received.unreadable
        if not await self._lets_in(tx, received):
            return "duplicate"
        failpoints.reach("handler.before-effect")
        await self.handler(tx, received.event)
        failpoints.reach("handler.before-commit")
        return "handled"

    async def _lets_in(self, tx: AsyncConnection, received: Received) -> bool:
        return await self.outbox.first_time(
            tx,
            self.topic.name,
            received.event_id,
            received.place,
            received.is_replayed_for(self.outbox.service),
        )

    async def _dead_letter(self, received: Received, error: Exception, attempts: int) -> None:
        self.log.error(
            "dead-lettered",
            topic=self.topic.name,
            event_id=received.event_id,
            error=type(error).__name__,
            attempts=attempts,
        )
        letter = letter_of(
            received.record,
            received.event_id,
            received.headers,
            error,
            describe(error),
            is_unreadable=received.unreadable is not None,
            attempts=attempts,
            failed_at=now(),
        )
        async with self.db.transaction() as tx:
            if await self._lets_in(tx, received):
                await self.outbox.dead_letter(tx, letter)
                if not letter.is_unreadable:
                    await self.brake.count(tx, letter.partition)


def read_record(topic: Topic, record: ConsumerRecord) -> Received:
    """Read one record of a batch.

    Headers that are not UTF-8, or have no value, are made so: only their original bytes are poison.
    """
    headers = {
        name: (value or b"").decode("utf-8", "replace") for name, value in record.headers or ()
    }
    event_id = event_id_of(record)
    try:
        event = topic.event.model_validate_json(record.value or b"")
    except ValidationError as error:
        return Received(record, event_id, headers, None, error)
    return Received(record, event_id, headers, event)


def is_retryable(error: BaseException) -> bool:
    """Ours say so themselves; a database that is locked or gone and an unreachable peer may come
    back.
    """
    if isinstance(error, RatchetError):
        return error.retryable
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)


def count_commit_failures(message: KafkaMessage, topic: str) -> None:
    """Count offsets that could not be committed.

    FastStream logs the failure and goes on, which is right, since the inbox absorbs what comes
    again; but somebody should know.
    """
    acknowledge = message.ack

    async def counted() -> None:
        try:
            await acknowledge()
        except KafkaError:
            COMMIT_FAILURES.labels(topic).inc()
            raise

    message.ack = counted  # type: ignore[method-assign]

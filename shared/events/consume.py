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
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from faststream.kafka import KafkaMessage
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import Topic
from shared import failpoints
from shared.clock import now
from shared.describing import describe
from shared.errors import Fatal, RatchetError, Retryable
from shared.events.backlog import BacklogFull
from shared.events.brake import LOOK_SECONDS, Brake, ConsumerPaused
from shared.events.dead_letters import DeadLetter, letter_of
from shared.events.log_guard import ConsumerGuard, Partition
from shared.events.outbox import Outbox
from shared.events.received import Received, count_commit_failures
from shared.storage import Database
from shared.telemetry import EVENT_SECONDS, EVENTS_HANDLED, log

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


class Consumer(ABC):
    """Digests the records of one topic."""

    most: ClassVar[int] = 64  # records that share a transaction: 0.1 s of SQLite's write lock

    def __init__(
        self,
        name: str,
        db: Database,
        outbox: Outbox,
        guard: ConsumerGuard,
        version: str | None = None,
    ) -> None:
        self.name = name
        self.db = db
        self.outbox = outbox
        self.guard = guard
        self.group = f"{outbox.service}.{name}"
        self.membership = Membership()
        self.brake = Brake(db, outbox.tables, name, version)
        self.log = log("bus")

    @property
    def paused_because(self) -> str | None:
        """Say why nothing is read at the moment; None while it is."""
        return self.brake.because

    @abstractmethod
    def _read(self, record: ConsumerRecord) -> Received:
        """Read one record of a batch."""

    @abstractmethod
    async def _by_one_commit(self, batch: Sequence[Received]) -> list[str]:
        """Do what each record asks for, unless it was done before; return what became of each."""

    async def digest(self, message: KafkaMessage) -> None:
        """Digest a batch; returning normally acknowledges it.

        Only a failure to commit (or to dead-letter) is raised, and nacks: the batch comes again. So
        it does while this consumer is paused.
        """
        await self._wait_for_room()
        await self._wait_while_paused()
        records: Sequence[ConsumerRecord] = message.raw_message
        read = {record.partition for record in records}
        lost = {
            at.number
            for at in await self.guard.lost(
                message.consumer, [Partition(self.name, number) for number in read]
            )
        }
        batch = [self._read(record) for record in records if record.partition not in lost]
        if not batch:
            # The log was lost: the consumer begins it again, and acknowledging commits its new
            # position.
            return
        count_commit_failures(message, self.name)
        with EVENT_SECONDS.labels(self.name).time():
            outcomes = await self._all_of(batch)
        for outcome, times in Counter(outcomes).items():
            EVENTS_HANDLED.labels(self.name, outcome).inc(times)

    async def _all_of(self, batch: Sequence[Received]) -> list[str]:
        return await self._together(batch) or await self._one_by_one(batch)

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
            outcomes = await self._by_one_commit(batch)
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
                [outcome] = await self._by_one_commit([received])
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

    async def _lets_in(self, tx: AsyncConnection, received: Received) -> bool:
        return await self.outbox.first_time(
            tx,
            self.name,
            received.event_id,
            received.place,
            received.is_replayed_for(self.outbox.service),
        )

    async def _dead_letter(self, received: Received, error: Exception, attempts: int) -> None:
        letter = self._letter(received, error, attempts, received.unreadable is not None)
        async with self.db.transaction() as tx:
            if await self._lets_in(tx, received):
                await self.outbox.dead_letter(tx, letter)
                if not letter.is_unreadable:
                    await self.brake.count(tx, letter.partition)

    def _letter(
        self, received: Received, error: Exception, attempts: int, is_unreadable: bool
    ) -> DeadLetter:
        self.log.error(
            "dead-lettered",
            topic=self.name,
            event_id=received.event_id,
            error=type(error).__name__,
            attempts=attempts,
        )
        return letter_of(
            received.record,
            received.event_id,
            received.headers,
            error,
            describe(error),
            is_unreadable=is_unreadable,
            attempts=attempts,
            failed_at=now(),
        )


class TopicConsumer(Consumer):
    """Digests the events of one topic for one handler."""

    def __init__(
        self, topic: Topic, handler: Handler, db: Database, outbox: Outbox, guard: ConsumerGuard
    ) -> None:
        super().__init__(topic.name, db, outbox, guard)
        self.topic = topic
        self.handler = handler

    def _read(self, record: ConsumerRecord) -> Received:
        try:
            event = self.topic.event.model_validate_json(record.value or b"")
        except ValidationError as error:
            return Received(record, unreadable=error)
        return Received(record, event)

    async def _by_one_commit(self, batch: Sequence[Received]) -> list[str]:
        async with self.db.transaction() as tx:
            return [await self._act(tx, received) for received in batch]

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


def is_retryable(error: BaseException) -> bool:
    """Ours say so themselves; a database that is locked or gone and an unreachable peer may come
    back.
    """
    if isinstance(error, RatchetError):
        return error.retryable
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)

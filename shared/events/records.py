"""Digests an app's own topic: its records are no events, and only their taker can read them.

What holds for events holds here: effect and inbox in one transaction, the DLQ for what nobody can
take, the brake, the guard of the log. A batch is read and written as one; apps stream tens of
thousands of records a second, and a statement for each took 1 ms. The inbox has the last record of
each batch, and the dead letters: a row for each record made it a fifth dearer than over HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import ConsumerRecord
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import failpoints
from shared.errors import RatchetError, Retryable
from shared.events.brake import LOOK_SECONDS, VERSION, ConsumerPaused
from shared.events.consume import Consumer
from shared.events.log_guard import ConsumerGuard
from shared.events.outbox import Outbox
from shared.events.received import Received
from shared.storage import Database

# In a row, and none that could be taken before: then it is not the records.
MOST_UNFIT = 100


class Taker(Protocol):
    """Makes of an app's records what they are to us.

    `prepare` computes, outside of any transaction; `take` writes what it made of the records, and
    says of each why it cannot be taken, or None. What it took once it takes again without an
    effect: a batch that comes again in other pieces may be new to the inbox.
    """

    topic: str
    version: str
    """Of what it reads records by, up to 20 characters."""
    advice: str
    """What to do where that fits no record at all."""

    async def has_fitted(self) -> bool:
        """Say whether this version has ever taken a record."""

    async def note_that_it_fits(self) -> None: ...

    async def waits(self) -> str | None:
        """Say why nothing can be taken yet, whatever the records hold; None where all is well."""

    async def prepare(self, records: Sequence[ConsumerRecord]) -> Sequence[Any]: ...

    async def take(
        self, tx: AsyncConnection, prepared: Sequence[Any]
    ) -> Sequence[RatchetError | None]: ...


class TakerWaits(Retryable):
    def __init__(self, topic: str, because: str) -> None:
        super().__init__(f"reading {topic} waits: {because}")


class RecordConsumer(Consumer):
    """Digests the records of one app's topic for their taker."""

    most = 1000

    def __init__(self, taker: Taker, db: Database, outbox: Outbox, guard: ConsumerGuard) -> None:
        version = f"{VERSION[:40]} {taker.version}"
        super().__init__(taker.topic, db, outbox, guard, version)
        self.taker = taker
        self._has_fitted: bool | None = None  # not asked yet
        self._unfit = 0  # in a row, while it has not
        self._why = ""
        self.waiting_for: str | None = None
        # An app may make its topic long after we began: until then nobody is late.
        self.membership.joining = False

    @property
    def paused_because(self) -> str | None:
        return super().paused_because or self.waiting_for

    async def _wait_while_paused(self) -> None:
        await super()._wait_while_paused()
        self.waiting_for = await self.taker.waits()
        if self.waiting_for is not None:
            await asyncio.sleep(LOOK_SECONDS)
            raise TakerWaits(self.name, self.waiting_for)

    async def _all_of(self, batch: Sequence[Received]) -> list[str]:
        """Digest a batch, in small steps as long as nothing of the topic could be taken."""
        if self._has_fitted is None:
            self._has_fitted = await self.taker.has_fitted()
        outcomes: list[str] = []
        while len(outcomes) < len(batch):
            step = self.most if self._has_fitted else MOST_UNFIT - self._unfit
            some = batch[len(outcomes) : len(outcomes) + step]
            these = await super()._all_of(some)
            outcomes += these
            if not self._has_fitted:
                await self._judge(some, these)
        return outcomes

    async def _judge(self, batch: Sequence[Received], outcomes: Sequence[str]) -> None:
        """Pause where nothing at all could be taken: a mapping that fits no record would make dead
        letters of all of a topic. What is a dead letter stays one, and the rest waits on the log.
        """
        if "handled" in outcomes:
            self._has_fitted = True
            await self.taker.note_that_it_fits()
            return
        self._unfit += sum(
            outcome == "dead-lettered" and one.record.value is not None
            for one, outcome in zip(batch, outcomes, strict=True)
        )
        if self._unfit < MOST_UNFIT:
            return
        self._unfit = 0
        because = f"none of {MOST_UNFIT} records could be taken ({self._why}): {self.taker.advice}"
        async with self.db.transaction() as tx:
            await self.brake.pause(tx, because)
        raise ConsumerPaused(self.name, because)

    def _read(self, record: ConsumerRecord) -> Received:
        return Received(record)

    async def _by_one_commit(self, batch: Sequence[Received]) -> list[str]:
        prepared = await self.taker.prepare([received.record for received in batch])
        async with self.db.transaction() as tx:
            return await self._digest(tx, batch, prepared)

    async def _digest(
        self, tx: AsyncConnection, batch: Sequence[Received], prepared: Sequence[Any]
    ) -> list[str]:
        """Take what is new of a batch; what cannot be taken is a dead letter by the same commit."""
        replayed = {index for index, one in enumerate(batch) if one.is_replayed}
        here = [one for one in batch if not one.is_replayed] if replayed else batch
        digested = await self.outbox.digested_to(tx, self.name, here)
        fresh: Sequence[int] = range(len(batch))
        if replayed or digested:
            fresh = [
                index
                for index, one in enumerate(batch)
                if (
                    await self._lets_in(tx, one)
                    if index in replayed
                    else one.record.offset > digested.get(one.record.partition, -1)
                )
            ]
        failpoints.reach("handler.before-effect")
        refused = await self.taker.take(tx, [prepared[index] for index in fresh])
        outcomes = ["duplicate"] * len(batch)
        for index, error in zip(fresh, refused, strict=True):
            outcomes[index] = "handled"
            if error and (index in replayed or await self._lets_in(tx, batch[index])):
                outcomes[index] = "dead-lettered"
                letter = self._letter(batch[index], error, attempts=1, is_unreadable=True)
                self._why = letter.error
                await self.outbox.dead_letter(tx, letter)
        await self.outbox.came_to(tx, self.name, here)
        failpoints.reach("handler.before-commit")
        return outcomes

"""Pauses a consumer whose own code fails on valid events, before all of them are dead letters.

A release that breaks a handler would dead-letter everything that arrives. Past a run of failures,
or a share of a partition's last events, the consumer stops reading and says so. A release of
another version goes on by itself, else an operator says so (`ratchet consumers resume`). Events
whose bytes fail their schema come from outside and never count: poison must not stop a consumer.
Of an app's topic the version is that of its mapping, too (records.py).
"""

from __future__ import annotations

import time
from datetime import datetime
from importlib.metadata import version

from sqlalchemy import Row, and_, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import now, utc
from shared.errors import Retryable
from shared.events.tables import DEAD_LETTERED, FAILED, EventTables
from shared.storage import Database, upsert
from shared.telemetry import CONSUMER_PAUSED, log

RUN = 10  # failures in a row
WINDOW = 100  # events of a partition, the last ones, of which a share may fail
SHARE = 0.2
LOOK_SECONDS = 5.0  # how long an operator's word takes to be heard
VERSION = version("ratchet")


class ConsumerPaused(Retryable):
    def __init__(self, topic: str, because: str) -> None:
        super().__init__(
            f"reading {topic} is paused: {because}. A version that can digest what comes goes on by"
            " itself, or say 'ratchet consumers resume'"
        )


class Brake:
    """The brake of one consumer: a service's reading of one topic."""

    def __init__(
        self, db: Database, tables: EventTables, topic: str, version: str | None = None
    ) -> None:
        self.db = db
        self.tables = tables
        self.topic = topic
        self.version = version or VERSION
        self.because: str | None = None  # while it is paused
        self._looked = float("-inf")

    async def check(self) -> None:
        """Raise ConsumerPaused while this consumer is paused; looks every LOOK_SECONDS."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._set(await self._reason())
        if self.because is not None:
            raise ConsumerPaused(self.topic, self.because)

    async def count(self, tx: AsyncConnection, partition: int) -> None:
        """Pause where too many of the last events failed; called after a dead letter of our own
        making.

        Runs in the transaction that writes the letter, so that the two are never told apart.
        """
        failed = await self._recent_failures(tx, partition)
        run = failed.index(False) if False in failed else len(failed)
        share = sum(failed) / WINDOW
        if run >= RUN:
            because = f"our own code failed on the last {run} events"
        elif share > SHARE:
            because = f"our own code failed on {sum(failed)} of the last {len(failed)} events"
        else:
            return
        await self.pause(tx, because)

    async def pause(self, tx: AsyncConnection, because: str) -> None:
        """Stop reading until another version comes, or an operator says so."""
        pause = {
            "topic": self.topic,
            "paused_at": now(),
            "because": because,
            "version": self.version,
            "resumed_at": None,
        }
        await upsert(tx, self.tables.pauses, pause)
        self._set(because)
        log("bus").error("consumer paused", topic=self.topic, because=because)

    def _set(self, because: str | None) -> None:
        self.because = because
        self._looked = time.monotonic()
        CONSUMER_PAUSED.labels(self.topic).set(because is not None)

    async def _reason(self) -> str | None:
        pauses = self.tables.pauses
        async with self.db.read() as connection:
            pause = await self._pause(connection)
        if pause is None or pause.resumed_at is not None:
            return None
        if pause.version == self.version:
            return str(pause.because)
        async with self.db.transaction(wake=False) as tx:
            await tx.execute(
                update(pauses).where(pauses.c.topic == self.topic).values(resumed_at=now())
            )
        log("bus").info(
            "consumer resumed by another version", topic=self.topic, version=self.version
        )
        return None

    async def _recent_failures(self, tx: AsyncConnection, partition: int) -> list[bool]:
        """Say of the partition's last events, newest first, whether our own code failed on them.

        What was digested before the last resumption does not count any more.
        """
        inbox = self.tables.inbox
        letters = self.tables.dead_letters
        ours = exists().where(
            letters.c.topic == inbox.c.topic,
            letters.c.event_id == inbox.c.event_id,
            letters.c.cause == FAILED,
        )
        failed = and_(inbox.c.outcome == DEAD_LETTERED, ours)
        last = (
            select(inbox.c.received_at, failed.label("failed"))
            .where(inbox.c.topic == self.topic, inbox.c.log_partition == partition)
            .where(or_(inbox.c.outcome != DEAD_LETTERED, ours))  # poison neither counts nor hides
            .order_by(inbox.c.log_offset.desc())
            .limit(WINDOW)
        )
        pause = await self._pause(tx)
        resumed_at: datetime | None = pause.resumed_at if pause else None
        return [
            bool(row.failed)
            for row in await tx.execute(last)
            if resumed_at is None or utc(row.received_at) > utc(resumed_at)
        ]

    async def _pause(self, connection: AsyncConnection) -> Row[tuple[object, ...]] | None:
        pauses = self.tables.pauses
        found = await connection.execute(select(pauses).where(pauses.c.topic == self.topic))
        return found.first()

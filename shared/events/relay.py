"""Publishes what is committed and unsent, oldest first, so that the order within a key holds.

One relay at a time works on a database: it holds a lease by the database's clock, and a second
replica stands by. A relay that was thought dead may still send: the rows of its batch come a second
time, after their first, and consumers absorb them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Float, MetaData, Row, String, Table, and_, or_, select, update

from schemas.topics import dead_letter_topic, published_by
from shared import failpoints
from shared.clock import now, utc
from shared.errors import Retryable
from shared.events.healing import HEAL_SECONDS, Healing
from shared.events.lanes import Lanes, Sent
from shared.events.log_guard import LogReader
from shared.events.losses import Losses
from shared.events.outbox import Outbox
from shared.events.seams import broken_connections
from shared.events.sending import OutboxRow, Sender
from shared.events.waiting import (
    count_parked,
    count_waiting,
    oldest_waiting,
    park,
    waiting_rows,
)
from shared.storage import Database, insert_once, stored, update_many
from shared.telemetry import (
    EVENTS_PARKED,
    EVENTS_PUBLISHED,
    OUTBOX_AGE,
    OUTBOX_PARKED,
    OUTBOX_PENDING,
    log,
)

BATCH = 500
# from one look to the next while events keep coming: several in one batch; after a pause the first
# goes at once
PACE_SECONDS = 0.01
POLL_SECONDS = (
    1.0  # a commit in this process wakes the relay at once; this is for rows another process left
)
TELL_SECONDS = 2.0
LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0


def lease_table(metadata: MetaData) -> Table:
    return Table(
        "relay_lease",
        metadata,
        Column("name", String(16), primary_key=True),
        Column("owner", String(200), nullable=False),
        Column("lease_until", Float(53), nullable=False),
    )


@dataclass(frozen=True)
class OutboxState:
    """What an outbox holds back: counts up to COUNT_AT_MOST, the age of the oldest in seconds, and
    why topics are closed.
    """

    pending: int
    oldest_seconds: float
    parked: int
    closed: dict[str, str]


class Relay:
    """`owner`: a name that a restarted process has again, so that it need not wait for its own
    lease to end.
    """

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        sender: Sender,
        reader: LogReader | None = None,
        lease: Table | None = None,
        owner: str = "",
    ) -> None:
        self.db = db
        self.outbox = outbox
        self.sender = sender
        self.reader = reader
        self.lease = lease
        self.owner = owner
        self.log = log("relay")
        self.lanes = Lanes(sender, db.committed.set)
        service = outbox.service
        self.topics = (
            *(topic.name for topic in published_by(service)),
            dead_letter_topic(service),
        )
        self._losses = Losses(db, outbox, reader, self.topics) if reader else None
        self._healing = Healing(db, outbox, reader) if reader else None
        self._healed_at = float("-inf")
        self._told_at = float("-inf")
        self._held_until = 0.0  # by our own clock, and sooner than the database's

    async def run(self) -> None:
        """Publish, then wait for the next commit, until cancelled; back off while the log or the
        database is away.
        """
        delay = 0.2
        while True:
            try:
                self.db.committed.clear()
                began = time.monotonic()
                await self._tell_now_and_then()
                if await self.leads():
                    await self.find_losses()
                    while await self.drain_once() >= BATCH and await self.leads():
                        pass
                    await self._heal_now_and_then()
                delay = 0.2
                await self._next_commit()
                await asyncio.sleep(began + PACE_SECONDS - time.monotonic())
            except Retryable as error:
                self.log.warning("not published, will retry", error=str(error), seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def leads(self) -> bool:
        """Say whether this relay holds the lease; take or renew it where it must."""
        if self.lease is None or time.monotonic() < self._held_until:
            return True
        asked = time.monotonic()
        table = self.lease
        clock = self.db.clock()
        free = and_(
            table.c.name == "relay", or_(table.c.owner == self.owner, table.c.lease_until < clock)
        )
        # Who waits for a row that another relay is renewing would only learn that it is taken.
        claimable = self.db.dialect.skip_locked(select(table.c.name).where(free))
        async with self.db.transaction(wake=False) as tx:
            await insert_once(tx, table, {"name": "relay", "owner": self.owner, "lease_until": 0.0})
            taken = await tx.execute(
                update(table)
                .where(table.c.name.in_(claimable))
                .values(owner=self.owner, lease_until=clock + LEASE_SECONDS)
            )
        self._held_until = asked + RENEW_SECONDS if taken.rowcount else 0.0
        return taken.rowcount == 1

    async def is_led_elsewhere(self) -> bool:
        """Say whether another relay holds a lease that has not ended."""
        if self.lease is None:
            return False
        table = self.lease
        theirs = and_(table.c.owner != self.owner, table.c.lease_until > self.db.clock())
        async with self.db.read() as connection:
            return (
                await connection.execute(select(table.c.name).where(theirs))
            ).first() is not None

    async def stop(self) -> None:
        """Give up what is on its way, and end the lease so that the next relay need not wait."""
        await self.lanes.stop()
        await self.sender.close()
        if self.lease is not None and self._held_until:
            async with self.db.transaction(wake=False) as tx:
                await tx.execute(
                    update(self.lease)
                    .where(self.lease.c.owner == self.owner)
                    .values(lease_until=0.0)
                )

    async def drain_once(self) -> int:
        """Publish one batch of each topic; return how many rows are published or parked."""
        async with self.db.read() as connection:
            rows = await waiting_rows(
                connection, self.outbox.table, self.lanes.open(self.topics), BATCH
            )
        if rows:
            failpoints.reach("relay.before-send")
        done = await self.lanes.send(rows, self._losses.verified if self._losses else 0)
        if not done:
            return 0
        failpoints.reach("relay.after-send")
        kept = [sent for sent in done if self.reader is None or sent.broken == broken_connections()]
        if len(kept) < len(done):
            # The log broke meanwhile: what it acknowledged may be gone, so these are sent again.
            await self.find_losses()
            self.db.committed.set()
        settled = await self._settle(kept)
        failpoints.reach("relay.after-mark")
        return settled

    async def _settle(self, done: Iterable[Sent]) -> int:
        """Mark what was published, and park what was refused; return how many rows that is."""
        published = [
            (row, sent.delivery.places[row.seq])
            for sent in done
            for row in sent.rows
            if row.seq in sent.delivery.places
        ]
        refused = {seq: why for sent in done for seq, why in sent.delivery.refused.items()}
        if not published and not refused:
            return 0
        table = self.outbox.table
        async with self.db.transaction(wake=False) as tx:
            at = stored(table.c.sent_at, now(), tx.dialect)
            marks = [(at, place.partition, place.offset, row.seq) for row, place in published]
            names = ("sent_at", "log_partition", "log_offset")
            await update_many(tx, table, names, "seq", marks)
            await park(tx, table, refused)
        self._count([row for row, _ in published])
        for sent in done:
            for row in sent.rows:
                if row.seq in refused:
                    EVENTS_PARKED.labels(row.aggregatetype).inc()
                    self.log.error(
                        "the log refuses an event; it is parked: see 'ratchet dlq parked'",
                        topic=row.aggregatetype,
                        event_id=row.id,
                        because=refused[row.seq],
                    )
        return len(published) + len(refused)

    def _count(self, published: Sequence[OutboxRow]) -> None:
        self.outbox.backlog.sent(published)
        for topic, count in Counter(row.aggregatetype for row in published).items():
            EVENTS_PUBLISHED.labels(topic).inc(count)

    async def find_losses(self) -> None:
        """Mark as unsent what the log lost, after a connection to it broke."""
        if self._losses:
            await self._losses.find()

    async def _heal_now_and_then(self) -> None:
        if self._healing and time.monotonic() - self._healed_at > HEAL_SECONDS:
            self._healed_at = time.monotonic()
            await self._healing.once(self.lanes.is_busy)

    async def _tell_now_and_then(self) -> None:
        """Set the metrics: also while the log is away, when nobody looks after consumers."""
        if time.monotonic() - self._told_at > TELL_SECONDS:
            self._told_at = time.monotonic()
            await self.state()

    async def oldest(self) -> Row[Any] | None:
        """Return the oldest row that waits for a topic which is open."""
        topics = [topic for topic in self.topics if topic not in self.lanes.closed]
        async with self.db.read() as connection:
            return await oldest_waiting(connection, self.outbox.table, topics)

    async def state(self) -> OutboxState:
        """Return what waits here, for probes and for people."""
        table = self.outbox.table
        async with self.db.read() as connection:
            pending = await count_waiting(connection, table)
            parked = await count_parked(connection, table)
            oldest = await oldest_waiting(connection, table, self.topics)
        age = (now() - utc(oldest.created_at)).total_seconds() if oldest else 0.0
        OUTBOX_PENDING.set(pending)
        OUTBOX_AGE.set(age)
        OUTBOX_PARKED.set(parked)
        return OutboxState(pending, age, parked, dict(self.lanes.closed))

    async def pending(self) -> int:
        """Count the rows that wait, up to COUNT_AT_MOST."""
        async with self.db.read() as connection:
            return await count_waiting(connection, self.outbox.table)

    async def _next_commit(self) -> None:
        pause = self.lanes.pause
        seconds = POLL_SECONDS if pause is None else min(max(pause, PACE_SECONDS), POLL_SECONDS)
        try:
            # Not `wait_for`: it loses a cancellation that meets a commit, and then nothing stops.
            async with asyncio.timeout(seconds):
                await self.db.committed.wait()
        except TimeoutError:
            pass

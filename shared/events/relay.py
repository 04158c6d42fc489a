"""Publishes what is committed and unsent, oldest first, so that the order within a key holds.

One relay at a time works on a database: it holds a lease by the database's clock, and a second
replica stands by. A relay that was thought dead may still send: the rows of its batch come a second
time, after their first, and consumers absorb them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    MetaData,
    String,
    Table,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)

from schemas.topics import TOPICS, dead_letter_topic, published_by
from shared import failpoints
from shared.clock import now, utc
from shared.errors import Retryable
from shared.events.log_guard import LogReader, Partition
from shared.events.outbox import Outbox, OutboxRow, Place, Sender
from shared.events.seams import broken_connections
from shared.storage import Database, insert_once, stored, update_many
from shared.telemetry import EVENTS_PUBLISHED, EVENTS_RESENT, OUTBOX_AGE, OUTBOX_PENDING, log

BATCH = 500
# from one look to the next while events keep coming: several in one batch; after a pause the first
# goes at once
PACE_SECONDS = 0.01
POLL_SECONDS = (
    1.0  # a commit in this process wakes the relay at once; this is for rows another process left
)
LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0
CHUNK = 500  # ids in one IN (...)
COMPACTED = {topic.name for topic in TOPICS if topic.compacted}


def lease_table(metadata: MetaData) -> Table:
    return Table(
        "relay_lease",
        metadata,
        Column("name", String(16), primary_key=True),
        Column("owner", String(200), nullable=False),
        Column("lease_until", Float(53), nullable=False),
    )


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
        self._held_until = 0.0  # by our own clock, and sooner than the database's
        # How many connections had broken when the log was last found to be whole.
        self._verified = -1
        table = outbox.table
        self._unsent = (
            select(table).where(table.c.sent_at.is_(None)).order_by(table.c.seq).limit(BATCH)
        )

    async def run(self) -> None:
        """Publish, then wait for the next commit, until cancelled; back off while the log or the
        database is away.
        """
        delay = 0.2
        while True:
            try:
                self.db.committed.clear()
                began = time.monotonic()
                if await self.leads():
                    await self.find_losses()
                    while await self.drain_once() == BATCH and await self.leads():
                        pass
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

    async def stand_down(self) -> None:
        """End the lease at a clean stop, so that the next relay need not wait for it."""
        if self.lease is not None and self._held_until:
            async with self.db.transaction(wake=False) as tx:
                await tx.execute(
                    update(self.lease)
                    .where(self.lease.c.owner == self.owner)
                    .values(lease_until=0.0)
                )

    async def drain_once(self) -> int:
        """Publish one batch; returns how many events it held."""
        async with self.db.read() as connection:
            rows = (await connection.execute(self._unsent)).all()
        OUTBOX_PENDING.set(len(rows))
        OUTBOX_AGE.set((now() - utc(rows[0].created_at)).total_seconds() if rows else 0)
        if not rows:
            return 0
        failpoints.reach("relay.before-send")
        places = await self.sender.send(rows)
        failpoints.reach("relay.after-send")
        if self.reader and broken_connections() != self._verified:
            # the log broke meanwhile: what it acknowledged may be gone, so this batch is sent again
            await self.find_losses()
            self.db.committed.set()
            return len(rows)
        await self._mark_sent(rows, places)
        if len(rows) < BATCH:
            OUTBOX_PENDING.set(0)
            OUTBOX_AGE.set(0)
        failpoints.reach("relay.after-mark")
        return len(rows)

    async def _mark_sent(self, rows: Sequence[OutboxRow], places: Sequence[Place]) -> None:
        async with self.db.transaction(wake=False) as tx:
            at = stored(self.outbox.table.c.sent_at, now(), tx.dialect)
            marks = [
                (at, place.partition, place.offset, row.seq)
                for row, place in zip(rows, places, strict=True)
            ]
            await update_many(
                tx, self.outbox.table, ("sent_at", "log_partition", "log_offset"), "seq", marks
            )
        self.outbox.backlog.sent(rows)
        for topic, count in Counter(row.aggregatetype for row in rows).items():
            EVENTS_PUBLISHED.labels(topic).inc(count)

    async def find_losses(self) -> None:
        """Mark as unsent what the log lost.

        After a connection broke, the log may no longer end where it was acknowledged to end.
        """
        suspected = broken_connections()
        if self.reader is None or suspected == self._verified:
            return
        for partition in await self.reader.lost(await self._ends()):
            await self._send_again(self.reader, partition)
        self._verified = suspected

    async def _ends(self) -> dict[Partition, tuple[str, int]]:
        """Return, by partition, the id and offset of the last event that the log acknowledged."""
        table = self.outbox.table
        ends = {}
        topics = [
            *(topic.name for topic in published_by(self.outbox.service)),
            dead_letter_topic(self.outbox.service),
        ]
        async with self.db.read() as connection:
            for topic in topics:
                sent = and_(table.c.sent_at.is_not(None), table.c.aggregatetype == topic)
                for (number,) in await connection.execute(
                    select(table.c.log_partition)
                    .where(sent, table.c.log_partition.is_not(None))
                    .distinct()
                ):
                    last = (
                        select(table.c.id, table.c.log_offset)
                        .where(sent, table.c.log_partition == number)
                        .order_by(table.c.log_offset.desc())
                        .limit(1)
                    )
                    row = (await connection.execute(last)).one()
                    ends[Partition(topic, number)] = (row.id, row.log_offset)
        return ends

    async def _send_again(self, reader: LogReader, partition: Partition) -> None:
        start, held = await reader.contents(partition)
        table = self.outbox.table
        here = and_(
            table.c.sent_at.is_not(None),
            table.c.aggregatetype == partition.topic,
            table.c.log_partition == partition.number,
        )
        kept = (
            select(table.c.seq, table.c.id, table.c.aggregateid)
            .where(here, or_(table.c.log_offset >= start, literal(start) == 0))
            .order_by(table.c.seq)
        )
        async with self.db.read() as connection:
            rows = (await connection.execute(kept)).all()
        # an older state sent after a newer one would become the state
        if partition.topic in COMPACTED:
            rows = list({row.aggregateid: row for row in rows}.values())
        missing = [row.seq for row in rows if row.id not in held]
        async with self.db.transaction() as tx:
            for begin in range(0, len(missing), CHUNK):
                these = table.c.seq.in_(missing[begin : begin + CHUNK])
                await tx.execute(
                    update(table)
                    .where(these)
                    .values(sent_at=None, log_partition=None, log_offset=None)
                )
        self.outbox.backlog.distrust()
        EVENTS_RESENT.labels(partition.topic).inc(len(missing))
        self.log.error(
            "the log lost events; sending them again",
            topic=partition.topic,
            partition=partition.number,
            events=len(missing),
        )

    async def forget_sent(self, before: Any) -> int:
        """Drop sent rows older than the time they are kept for; a log that loses them later cannot
        be filled from here.
        """
        table = self.outbox.table
        async with self.db.transaction(wake=False) as tx:
            return (await tx.execute(delete(table).where(table.c.sent_at < before))).rowcount

    async def pending(self) -> int:
        table = self.outbox.table
        async with self.db.read() as connection:
            return (
                await connection.execute(select(func.count()).where(table.c.sent_at.is_(None)))
            ).scalar_one()

    async def _next_commit(self) -> None:
        try:
            await asyncio.wait_for(self.db.committed.wait(), POLL_SECONDS)
        except TimeoutError:
            pass

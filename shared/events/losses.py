"""Finds what the log lost of what it had acknowledged, and marks it as unsent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Table, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import COMPACTED
from shared.events.log_guard import LogReader, Partition
from shared.events.outbox import Outbox
from shared.events.seams import broken_connections
from shared.events.waiting import newest_of_each_key
from shared.storage import Database
from shared.telemetry import EVENTS_RESENT, log

# Rows that one transaction marks: some 10 ms of SQLite's write lock.
CHUNK = 500

End = tuple[str, int]
"""Id and offset of an event that the log acknowledged."""


class Losses:
    """Compares the log with the outbox whenever a connection broke: before that nothing is lost.

    A log that lost something keeps its beginning, and whatever it took since stands where the lost
    events stood. So the first lost event is found by halving: reading some 20 records tells it, of
    a partition of any length.
    """

    def __init__(
        self, db: Database, outbox: Outbox, reader: LogReader, topics: Sequence[str]
    ) -> None:
        self.db = db
        self.outbox = outbox
        self.reader = reader
        self.topics = topics
        # How many connections had broken when the log was last found to be whole.
        self.verified = -1

    async def find(self) -> None:
        """Mark as unsent what is lost. Raises BrokerUnavailable."""
        suspected = broken_connections()
        if suspected == self.verified:
            return
        ends = await self._ends()
        lost = await self.reader.lost(ends)
        for partition, first in (await self._first_lost(ends, lost)).items():
            await self._send_again(partition, first)
        self.verified = suspected

    async def _ends(self) -> dict[Partition, End]:
        """Return, by partition, the last event that the log acknowledged."""
        table = self.outbox.table
        ends = {}
        async with self.db.read() as connection:
            for topic in self.topics:
                numbers = (
                    select(table.c.log_partition)
                    .where(self._sent(topic), table.c.log_partition.is_not(None))
                    .distinct()
                )
                for (number,) in (await connection.execute(numbers)).all():
                    at = Partition(topic, number)
                    last = await self._row(connection, at, -1, None, newest=True)
                    if last:
                        ends[at] = last
        return ends

    async def _first_lost(
        self, ends: Mapping[Partition, End], lost: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        """Return the first lost offset of each partition; all are halved at once."""
        intact = {at: start - 1 for at, start in lost.items()}
        first = {at: ends[at][1] for at in lost}
        while True:
            async with self.db.read() as connection:
                halves = {
                    at: await self._between(connection, at, intact[at], first[at]) for at in lost
                }
            asked = {at: half for at, half in halves.items() if half}
            if not asked:
                return first
            gone = await self.reader.lost(asked)
            for at, (_, offset) in asked.items():
                (first if at in gone else intact)[at] = offset

    async def _between(
        self, connection: AsyncConnection, at: Partition, after: int, before: int
    ) -> End | None:
        """Return an event about halfway between two offsets, both excluded; None if there is no
        event between them.
        """
        middle = (after + before) // 2
        return await self._row(connection, at, middle, before) or await self._row(
            connection, at, after, middle + 1, newest=True
        )

    async def _row(
        self,
        connection: AsyncConnection,
        at: Partition,
        after: int,
        before: int | None,
        newest: bool = False,
    ) -> End | None:
        table = self.outbox.table
        offset = table.c.log_offset
        row = (
            await connection.execute(
                select(table.c.id, offset)
                .where(self._sent(at.topic), table.c.log_partition == at.number, offset > after)
                .where(*[offset < before] if before is not None else [])
                .order_by(offset.desc() if newest else offset)
                .limit(1)
            )
        ).first()
        return (row.id, row.log_offset) if row else None

    async def _send_again(self, partition: Partition, first: int) -> None:
        """Mark as unsent what stood at offset `first` and behind it.

        From the lowest offset on: whoever is killed in between finds the rest of the loss again.
        """
        count = 0
        while True:
            async with self.db.transaction() as tx:
                seqs = await self._lost_rows(tx, partition, first)
                await forget_sending(tx, self.outbox.table, seqs)
            count += len(seqs)
            # Asked again, a compacted topic would give the states before those.
            if len(seqs) < CHUNK or partition.topic in COMPACTED:
                break
        self.outbox.backlog.distrust()
        EVENTS_RESENT.labels(partition.topic).inc(count)
        log("relay").error(
            "the log lost events; sending them again",
            topic=partition.topic,
            partition=partition.number,
            events=count,
        )

    async def _lost_rows(
        self, tx: AsyncConnection, partition: Partition, first: int
    ) -> Sequence[int]:
        table = self.outbox.table
        here = and_(self._sent(partition.topic), table.c.log_partition == partition.number)
        if partition.topic in COMPACTED:
            # An older state that is sent after a newer one would become the state.
            found = await tx.execute(newest_of_each_key(table, here))
            return list(found.scalars())
        rows = select(table.c.seq).where(here, table.c.log_offset >= first)
        found = await tx.execute(rows.order_by(table.c.log_offset).limit(CHUNK))
        return list(found.scalars())

    def _sent(self, topic: str) -> ColumnElement[bool]:
        table = self.outbox.table
        return and_(table.c.sent_at.is_not(None), table.c.aggregatetype == topic)


async def forget_sending(tx: AsyncConnection, table: Table, seqs: Sequence[int]) -> None:
    """Let rows be sent once more."""
    if seqs:
        again = {"sent_at": None, "log_partition": None, "log_offset": None}
        await tx.execute(update(table).where(table.c.seq.in_(seqs)).values(again))

"""Keeps the newest state of each key the last one on a compacted topic.

A relay that was thought dead and wakes in the middle of sending leaves an old state behind a newer
one. Who has read both absorbs it; but once the log is compacted only the old one is left, and who
reads the topic for the first time would believe it. So the relay reads what was added to its
compacted topics, and where the last state of a key is not its newest it sends that once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import published_by
from shared.events.log_guard import LogReader, Partition
from shared.events.losses import forget_sending
from shared.events.outbox import Outbox
from shared.events.waiting import newest_of_each_key
from shared.storage import Database
from shared.telemetry import EVENTS_RESENT, log

# With reading and sending well below the minute in which an old state is to be gone.
HEAL_SECONDS = 20.0


class Healing:
    """Looks after the compacted topics of one service. One relay at a time may: the one that
    leads.
    """

    def __init__(self, db: Database, outbox: Outbox, reader: LogReader) -> None:
        self.db = db
        self.outbox = outbox
        self.reader = reader
        self.topics = [topic.name for topic in published_by(outbox.service) if topic.compacted]
        self._read_to: dict[Partition, int] = {}

    async def once(self, is_busy: Callable[[str], bool]) -> None:
        """Look at what was added since the last time; raises BrokerUnavailable.

        A topic whose rows are on their way is left for later: what is marked as unsent now could
        overtake them.
        """
        for topic in self.topics:
            if not is_busy(topic):
                await self._heal(topic)

    async def _heal(self, topic: str) -> None:
        async with self.db.read() as connection:
            places = await self._places(connection, topic)
        if not places:
            return
        said = await self.reader.newest(places)
        await self._restore(topic, said.ids)
        self._read_to |= said.ends

    async def _places(self, connection: AsyncConnection, topic: str) -> dict[Partition, int]:
        """Return the partitions that we ever wrote to, each with the offset to read from."""
        table = self.outbox.table
        numbers = (
            select(table.c.log_partition)
            .where(table.c.sent_at.is_not(None), table.c.aggregatetype == topic)
            .where(table.c.log_partition.is_not(None))
            .distinct()
        )
        written = [Partition(topic, number) for (number,) in await connection.execute(numbers)]
        return {partition: self._read_to.get(partition, 0) for partition in written}

    async def _restore(self, topic: str, ids: Mapping[str, str]) -> None:
        """Send the newest state of each key again where the log ends with another."""
        if not ids:
            return
        table = self.outbox.table
        async with self.db.transaction() as tx:
            coming = await self._waiting_keys(tx, topic)
            old = [
                row.seq
                for row in await self._newest_sent(tx, topic)
                if row.aggregateid not in coming and ids.get(row.aggregateid, row.id) != row.id
            ]
            await forget_sending(tx, table, old)
        if old:
            EVENTS_RESENT.labels(topic).inc(len(old))
            log("relay").error(
                "an old state stood behind a newer one; sending the newest again",
                topic=topic,
                keys=len(old),
            )

    async def _waiting_keys(self, tx: AsyncConnection, topic: str) -> set[str | None]:
        """Return the keys whose newest state is still to be sent."""
        table = self.outbox.table
        waits = (table.c.sent_at.is_(None), table.c.parked_at.is_(None))
        keys = select(table.c.aggregateid).where(table.c.aggregatetype == topic, *waits)
        return set((await tx.execute(keys)).scalars())

    async def _newest_sent(self, tx: AsyncConnection, topic: str) -> list[Row[tuple[object, ...]]]:
        table = self.outbox.table
        sent = (table.c.aggregatetype == topic, table.c.sent_at.is_not(None))
        rows = select(table.c.seq, table.c.id, table.c.aggregateid)
        newest = newest_of_each_key(table, *sent)
        return list(await tx.execute(rows.where(table.c.seq.in_(newest))))

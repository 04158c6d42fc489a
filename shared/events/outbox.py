"""Inbox and outbox: effect, "I have seen this event" and "these events follow" commit in one
transaction.

The outbox table has the columns of Debezium's event router (id, aggregatetype, aggregateid, type,
payload), so that change data capture can replace our relay (relay.py). Sent rows are kept for a
while: a log that loses its end is filled from them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    MetaData,
    and_,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Event
from schemas.topics import LARGEST_EVENT_BYTES, dead_letter_topic, published_by
from shared.clock import now
from shared.errors import RatchetError
from shared.events.backlog import Backlog
from shared.events.dead_letters import DeadLetter
from shared.events.received import Received
from shared.events.rendering import Rendered, rendered
from shared.events.sending import Place
from shared.events.tables import DEAD_LETTERED, HANDLED, event_tables
from shared.storage import Database, insert_many, insert_once, stored

# Rows that one transaction changes: some 10 ms of SQLite's write lock.
CHUNK = 500
DEAD_LETTER = "dead-letter"  # outbox.type of the copy on the DLQ topic


class UndeclaredEvent(Exception):
    def __init__(self, service: str, event: str) -> None:
        super().__init__(f"{service} may not publish {event}: declare it in schemas/topics.py")


class EventTooLarge(RatchetError):
    """The log takes no event of this size, and none is stored that could never be sent."""

    status = 413

    def __init__(self, kind: str, size: int) -> None:
        super().__init__(
            f"this makes an event of {size} bytes ({kind}), and the event log takes"
            f" {LARGEST_EVENT_BYTES}: send less text. A character that JSON escapes counts as up to"
            " six bytes. Nothing was stored"
        )


class Outbox:
    """Where a service leaves the events that follow from its effects, and the ids it has
    digested.
    """

    def __init__(self, service: str, metadata: MetaData) -> None:
        self.service = service
        self.tables = event_tables(metadata)
        self.inbox = self.tables.inbox
        self.table = self.tables.outbox
        self.backlog = Backlog(self.table)
        # Made once: to put it together takes longer than to run it.
        self._seen = select(self.inbox.c.event_id).where(
            self.inbox.c.topic == bindparam("of"),
            self.inbox.c.log_partition == bindparam("number"),
            self.inbox.c.log_offset.between(bindparam("begin"), bindparam("end")),
        )
        self._declared = {topic.event.__name__ for topic in published_by(service)}

    async def add(self, tx: AsyncConnection, *events: Event) -> None:
        """Publish `events` if, and only if, the transaction commits."""
        await self.add_rendered(tx, [rendered(event, self.service) for event in events])

    async def add_rendered(self, tx: AsyncConnection, events: Sequence[Rendered]) -> None:
        """Publish events that are rendered to bytes already, if the transaction commits."""
        for undeclared in {event.type for event in events} - self._declared:
            raise UndeclaredEvent(self.service, undeclared)
        for event in events:
            if (size := encoded_size(event)) > LARGEST_EVENT_BYTES:
                raise EventTooLarge(event.type, size)
        at = stored(self.table.c.created_at, now(), tx.dialect)
        await insert_many(
            tx, self.table, (*Rendered._fields, "created_at"), [(*event, at) for event in events]
        )
        self.backlog.added(events)

    async def dead_letter(self, tx: AsyncConnection, letter: DeadLetter) -> None:
        """Store an event that `first_time` let in as a dead letter, and publish a copy of it.

        The table is what operators work with; the copy on the DLQ topic is for others to read.
        """
        await tx.execute(
            update(self.inbox)
            .where(self._this(letter.topic, letter.event_id))
            .values(outcome=DEAD_LETTERED)
        )
        await tx.execute(insert(self.tables.dead_letters).values(letter.row()))
        copy = letter.copy()
        await tx.execute(
            insert(self.table).values(
                id=letter.event_id,
                aggregatetype=dead_letter_topic(self.service),
                aggregateid=copy.key,
                type=DEAD_LETTER,
                payload=copy.body,
                headers=copy.headers,
                created_at=letter.failed_at,
            )
        )

    async def first_time(
        self,
        tx: AsyncConnection,
        topic: str,
        event_id: str,
        place: Place | None = None,
        replayed: bool = False,
    ) -> bool:
        """Record that the event is being digested; False when it was before (its effect must not
        happen again).

        A dead letter that an operator replays is let in once more.
        """
        at = {"log_partition": place.partition, "log_offset": place.offset} if place else {}
        fresh = {
            "topic": topic,
            "event_id": event_id,
            "received_at": now(),
            "outcome": HANDLED,
            **at,
        }
        if await insert_once(tx, self.inbox, fresh):
            return True
        known = self._this(topic, event_id)
        if at:  # after a lost log the same event stands elsewhere
            await tx.execute(update(self.inbox).where(known).values(**at))
        if not replayed:
            return False
        again = (
            update(self.inbox)
            .where(known, self.inbox.c.outcome == DEAD_LETTERED)
            .values(outcome=HANDLED)
        )
        return (await tx.execute(again)).rowcount == 1

    async def digested_to(
        self, tx: AsyncConnection, topic: str, batch: Sequence[Received]
    ) -> dict[int, int]:
        """Return the offset up to which a batch was digested before, by partition.

        Its ids are made of its places, and batches are digested in order, each by one commit:
        whichever record of it the inbox holds, all before that were digested, too.
        """
        first = {one.record.partition: one.record.offset for one in reversed(batch)}
        last = {one.record.partition: one.record.offset for one in batch}
        seen: set[str] = set()
        for number, offset in first.items():
            span = {"of": topic, "number": number, "begin": offset, "end": last[number]}
            seen |= set(await tx.scalars(self._seen, span))
        known = [one.place for one in batch if one.event_id in seen] if seen else []
        return dict(known)

    async def came_to(self, tx: AsyncConnection, topic: str, batch: Sequence[Received]) -> None:
        """Record that a batch is digested: its last event of each partition stands for all."""
        last = {one.record.partition: one for one in batch}
        at = stored(self.inbox.c.received_at, now(), tx.dialect)
        names = ("topic", "event_id", "received_at", "outcome", "log_partition", "log_offset")
        rows = [(topic, one.event_id, at, HANDLED, *one.place) for one in last.values()]
        await insert_many(tx, self.inbox, names, rows, unless_known=True)

    async def last_seen(
        self, connection: AsyncConnection, topic: str, partition: int
    ) -> tuple[str, int] | None:
        """Id and offset of the event that this service read furthest down a partition."""
        table = self.inbox
        here = and_(table.c.topic == topic, table.c.log_partition == partition)
        row = (
            await connection.execute(
                select(table.c.event_id, table.c.log_offset)
                .where(here)
                .order_by(table.c.log_offset.desc())
                .limit(1)
            )
        ).first()
        return (row.event_id, row.log_offset) if row else None

    async def forget_places(self, db: Database, topic: str, partition: int) -> None:
        """Forget the offsets of a partition that is no longer the one they were read from.

        From the lowest on: whoever is killed in between finds the loss again.
        """
        table = self.inbox
        here = and_(
            table.c.topic == topic,
            table.c.log_partition == partition,
            table.c.log_offset.is_not(None),
        )
        lowest = select(table.c.event_id).where(here).order_by(table.c.log_offset).limit(CHUNK)
        forgotten = CHUNK
        while forgotten == CHUNK:
            async with db.transaction(wake=False) as tx:
                some = and_(table.c.topic == topic, table.c.event_id.in_(lowest))
                forget = update(table).where(some).values(log_partition=None, log_offset=None)
                forgotten = (await tx.execute(forget)).rowcount

    def _this(self, topic: str, event_id: str) -> ColumnElement[bool]:
        return and_(self.inbox.c.topic == topic, self.inbox.c.event_id == event_id)


def encoded_size(event: Rendered) -> int:
    """Return the most bytes that an event takes in the log: JSON with its escapes, headers, key."""
    return len(event.payload) + len(event.headers) + 4 * len(event.aggregateid)

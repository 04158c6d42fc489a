"""Parked events: what the log refuses for good, and what an operator does about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.operations.books import Book, Books
from infra.operations.settling import SETTLED, leave_note
from schemas.base import JsonObject
from schemas.topics import COMPACTED, SERVICES
from shared.clock import utc
from shared.events import DROPPED

RELEASED = "released"
SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Parked:
    """An event that waits in its service's outbox; `size` is that of its body in bytes."""

    service: str
    seq: int
    topic: str
    event_id: str
    key: str | None
    size: int
    because: str
    created_at: datetime
    parked_at: datetime

    def as_json(self) -> JsonObject:
        times = {"created_at": self.created_at, "parked_at": self.parked_at}
        return vars(self) | {name: time.isoformat() for name, time in times.items()}


@dataclass(frozen=True)
class ParkedOutcome:
    """What came of a parked event, and why."""

    event: Parked
    outcome: str
    why: str = ""

    def as_json(self) -> JsonObject:
        return {
            "service": self.event.service,
            "topic": self.event.topic,
            "event_id": self.event.event_id,
            "outcome": self.outcome,
            "why": self.why,
        }


Act = Callable[[AsyncConnection, Book, Parked], Awaitable[ParkedOutcome]]


async def parked_events(
    books: Books, service: str | None = None, topic: str | None = None, ids: tuple[str, ...] = ()
) -> list[Parked]:
    """Return parked events, the oldest first; `ids` are beginnings of event ids."""
    found = []
    for book in books.of([service] if service else SERVICES):
        table = book.outbox
        rows = (
            select(table, func.length(table.c.payload).label("size"))
            .where(table.c.parked_at.is_not(None))
            .order_by(table.c.seq)
        )
        found += [parked_of(book.service, row) async for row in book.rows(rows)]
    chosen = [
        event
        for event in found
        if topic in (None, event.topic) and (not ids or event.event_id.startswith(ids))
    ]
    return sorted(chosen, key=lambda event: event.created_at)


def parked_of(service: str, row: Row[Any]) -> Parked:
    return Parked(
        service=service,
        seq=row.seq,
        topic=row.aggregatetype,
        event_id=row.id,
        key=row.aggregateid,
        size=row.size or 0,
        because=row.parked_because,
        created_at=utc(row.created_at),
        parked_at=utc(row.parked_at),
    )


async def settle(books: Books, events: Iterable[Parked], act: Act) -> list[ParkedOutcome]:
    """Do one thing with each event, each in a transaction of its own."""
    outcomes = []
    for event in events:
        book = books.open[event.service]
        async with book.db.transaction() as tx:
            outcomes.append(await act(tx, book, event))
    return outcomes


async def release(tx: AsyncConnection, book: Book, event: Parked) -> ParkedOutcome:
    """Let the relay send it once more; refused again, it is parked again.

    Never past a later state of its key: on a compacted topic it would become the state.
    """
    table = book.outbox
    if event.topic in COMPACTED and await has_successor(tx, book, event):
        why = "a newer state of its key is published or waits: drop this one"
        return ParkedOutcome(event, SUPERSEDED, why)
    again = update(table).where(this(book, event)).values(parked_at=None, parked_because=None)
    if (await tx.execute(again)).rowcount != 1:
        return ParkedOutcome(event, SETTLED, "it is not parked any more")
    return ParkedOutcome(event, RELEASED, "its service sends it within seconds")


def dropping(because: str) -> Act:
    """Make the act that deletes an event, and leaves a note on the DLQ topic of who did and why."""

    async def drop(tx: AsyncConnection, book: Book, event: Parked) -> ParkedOutcome:
        table = book.outbox
        if (await tx.execute(delete(table).where(this(book, event)))).rowcount != 1:
            return ParkedOutcome(event, SETTLED, "it is not parked any more")
        await leave_note(tx, book, event, because, parked_because=event.because)
        return ParkedOutcome(event, DROPPED, because)

    return drop


async def has_successor(tx: AsyncConnection, book: Book, event: Parked) -> bool:
    """Say whether the outbox has a later event of the same key.

    Housekeeping keeps the newest event of each key of a compacted topic, so it is there to be seen.
    """
    table = book.outbox
    later = and_(
        table.c.aggregatetype == event.topic,
        table.c.aggregateid == event.key,
        table.c.seq > event.seq,
    )
    return (await tx.execute(select(table.c.seq).where(later).limit(1))).first() is not None


def this(book: Book, event: Parked) -> Any:
    return and_(book.outbox.c.seq == event.seq, book.outbox.c.parked_at.is_not(None))

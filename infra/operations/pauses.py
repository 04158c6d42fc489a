"""Consumers that paused because our own code failed on their events, and letting them go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from infra.operations.books import Book, Books
from schemas.base import JsonObject
from schemas.topics import SERVICES
from shared.clock import now, utc
from shared.errors import Conflict


class NothingPaused(Conflict):
    def __init__(self, service: str, topic: str | None) -> None:
        what = f"the consumer of {topic}" if topic else "no consumer"
        is_paused = "is not paused" if topic else "is paused"
        super().__init__(
            f"{what} of {service} {is_paused}: 'ratchet consumers list' shows which are"
        )


@dataclass(frozen=True)
class Pause:
    """A consumer that stopped reading; `version` is that of the code that failed."""

    service: str
    topic: str
    since: datetime
    because: str
    version: str

    def as_json(self) -> JsonObject:
        return vars(self) | {"since": self.since.isoformat()}


async def paused_consumers(books: Books) -> list[Pause]:
    """Return the paused consumers of every service, the longest paused first."""
    found = [pause for book in books.of(SERVICES) for pause in await pauses_of(book)]
    return sorted(found, key=lambda pause: pause.since)


async def pauses_of(book: Book) -> list[Pause]:
    table = book.pauses
    return [
        Pause(book.service, row.topic, utc(row.paused_at), row.because, row.version)
        async for row in book.rows(select(table).where(table.c.resumed_at.is_(None)))
    ]


async def resume(books: Books, service: str, topic: str | None = None) -> list[Pause]:
    """Let the service's consumers, or that of one topic, go on; they look every few seconds.

    Raises NothingPaused where none of them is paused.
    """
    resumed = [
        pause
        for book in books.of([service])
        for pause in await pauses_of(book)
        if topic in (None, pause.topic) and await resume_one(book, pause)
    ]
    if not resumed:
        raise NothingPaused(service, topic)
    return resumed


async def resume_one(book: Book, pause: Pause) -> bool:
    """Return False where it went on by itself meanwhile."""
    table = book.pauses
    this = update(table).where(table.c.topic == pause.topic, table.c.resumed_at.is_(None))
    async with book.db.transaction(wake=False) as tx:
        return (await tx.execute(this.values(resumed_at=now()))).rowcount == 1

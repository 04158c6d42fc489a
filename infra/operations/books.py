"""Reads the tables for events in each service's database, whether it runs or not (ADR 0015)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Row, Select, Table, func, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from shared.clock import utc
from shared.errors import RatchetError
from shared.events import event_tables
from shared.storage import Database

# Fetched at a time: 100,000 rows stream in about a second.
ROWS = 2000


class NoBooks(RatchetError):
    def __init__(self, places: Collection[str]) -> None:
        super().__init__(
            f"no service ever stored anything in {', '.join(sorted(places))}: name the folder with"
            " --home, or set RATCHET_DATABASE_URL"
        )


class BookClosed(RatchetError):
    def __init__(self, service: str, cause: BaseException) -> None:
        super().__init__(
            f"the database of {service} did not let us in ({type(cause).__name__}:"
            f" {str(cause)[:200]}): check RATCHET_DATABASE_URL and that it runs"
        )


class BookTooOld(RatchetError):
    def __init__(self, service: str, missing: Collection[str]) -> None:
        super().__init__(
            f"the database of {service} was made by an older release ({', '.join(sorted(missing))}"
            f" missing): start {service} once, which migrates it"
        )


@dataclass(frozen=True)
class Seen:
    """What became of an event, and where the inbox's service read it last."""

    outcome: str
    at: datetime
    partition: int | None
    offset: int | None


@dataclass(frozen=True)
class Failure:
    """Why an event could not be digested."""

    error_type: str
    error: str
    failed_at: str


@dataclass(frozen=True)
class Book:
    """One service's database, and the tables in it that are the same for all."""

    service: str
    db: Database
    inbox: Table
    outbox: Table
    dead_letters: Table
    pauses: Table

    async def rows(self, statement: Select[Any]) -> AsyncIterator[Row[Any]]:
        async with self.db.read() as connection:
            async for some in (await connection.stream(statement)).partitions(ROWS):
                for row in some:
                    yield row

    async def count(self, table: Table) -> int:
        async with self.db.read() as connection:
            counted = await connection.execute(select(func.count()).select_from(table))
            return counted.scalar_one()

    async def seen(self, topic: str, event_id: str) -> Seen | None:
        """Return what the inbox says of an event; None where it never saw it, or forgot it."""
        table = self.inbox
        row = await self._first(
            select(table).where(table.c.topic == topic, table.c.event_id == event_id)
        )
        if row is None:
            return None
        return Seen(row.outcome, utc(row.received_at), row.log_partition, row.log_offset)

    async def newest_failure(self, topic: str, event_id: str) -> Failure | None:
        """Say why the event could not be digested the last time; None where it always was."""
        table = self.dead_letters
        mine = select(table).where(table.c.topic == topic, table.c.event_id == event_id)
        row = await self._first(mine.order_by(table.c.seq.desc()).limit(1))
        if row is None:
            return None
        return Failure(row.error_type, row.error, utc(row.failed_at).isoformat())

    async def _first(self, statement: Select[Any]) -> Row[Any] | None:
        async with self.db.read() as connection:
            found: Row[Any] | None = (await connection.execute(statement)).first()
        return found


@dataclass(frozen=True)
class Books:
    """The open books by service; `absent` are services that never stored anything here."""

    open: Mapping[str, Book] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    def of(self, services: Collection[str]) -> list[Book]:
        return [self.open[service] for service in services if service in self.open]


@asynccontextmanager
async def open_books(urls: Mapping[str, str]) -> AsyncIterator[Books]:
    """Open the databases of these services. A file that is not there is not made."""
    there = {service: Database(url) for service, url in urls.items() if not is_missing_file(url)}
    try:
        found = {service: await open_book(service, db) for service, db in there.items()}
        opened = {service: book for service, book in found.items() if book}
        if not opened:
            raise NoBooks({make_url(url).render_as_string() for url in urls.values()})
        yield Books(opened, tuple(service for service in urls if service not in opened))
    finally:
        for db in there.values():
            await db.close()


def is_missing_file(url: str) -> bool:
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file()


async def open_book(service: str, db: Database) -> Book | None:
    """Return None where the service made no tables yet."""
    tables = event_tables(MetaData())
    every = (tables.inbox, tables.outbox, tables.dead_letters, tables.pauses)
    try:
        async with db.read() as connection:
            columns = await connection.run_sync(columns_there, [table.name for table in every])
    except (OSError, DBAPIError, RatchetError) as error:
        raise BookClosed(service, error) from error
    if columns is None:
        return None
    needed = {f"{table.name}.{column.name}" for table in every for column in table.columns}
    if missing := needed - columns:
        raise BookTooOld(service, missing)
    return Book(service, db, *every)


def columns_there(connection: Connection, tables: Collection[str]) -> set[str] | None:
    """Return the columns of these tables as TABLE.COLUMN; None where there is none of them."""
    inspector = inspect(connection)
    there = [table for table in tables if inspector.has_table(table)]
    return {
        f"{table}.{column['name']}" for table in there for column in inspector.get_columns(table)
    } or None

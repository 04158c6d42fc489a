"""The inbox and outbox of each service, read where they are: in its database, whether the service
runs or not (decision 0015).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Select, Table, func, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from shared.errors import RatchetError
from shared.events.outbox import outbox_tables
from shared.storage.db import Database

ROWS = 2000  # fetched at a time: 100,000 rows stream in about a second
IN_CLAUSE = 500


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
class Book:
    """One service's database, and the tables in it that are the same for all."""

    service: str
    db: Database
    inbox: Table
    outbox: Table

    async def rows(self, statement: Select) -> AsyncIterator[Any]:
        async with self.db.read() as connection:
            async for some in (await connection.stream(statement)).partitions(ROWS):
                for row in some:
                    yield row

    async def count(self, table: Table, *where: Any) -> int:
        async with self.db.read() as connection:
            return (
                await connection.execute(select(func.count()).select_from(table).where(*where))
            ).scalar_one()

    async def outcomes(self, topic: str, event_ids: Collection[str]) -> dict[str, Any]:
        """The inbox rows of these events, by id; what is not there was not seen, or is
        forgotten.
        """
        found = {}
        ids = list(event_ids)
        table = self.inbox
        async with self.db.read() as connection:
            for start in range(0, len(ids), IN_CLAUSE):
                these = select(table).where(
                    table.c.topic == topic, table.c.event_id.in_(ids[start : start + IN_CLAUSE])
                )
                found |= {row.event_id: row for row in await connection.execute(these)}
        return found


@dataclass(frozen=True)
class Books:
    """By service. `absent`: services that never stored anything here."""

    open: Mapping[str, Book] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    def of(self, services: Collection[str]) -> list[Book]:
        return [self.open[service] for service in services if service in self.open]


@asynccontextmanager
async def open_books(urls: Mapping[str, str]) -> AsyncIterator[Books]:
    """The databases of these services. A file that is not there is not made."""
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
    """None where the service made no tables yet."""
    inbox, outbox = outbox_tables(MetaData())
    try:
        async with db.read() as connection:
            columns = await connection.run_sync(columns_there, (inbox.name, outbox.name))
    except (OSError, DBAPIError, RatchetError) as error:
        raise BookClosed(service, error) from error
    if columns is None:
        return None
    if (
        missing := {
            f"{table.name}.{column.name}" for table in (inbox, outbox) for column in table.columns
        }
        - columns
    ):
        raise BookTooOld(service, missing)
    return Book(service, db, inbox, outbox)


def columns_there(connection: Connection, tables: Collection[str]) -> set[str] | None:
    inspector = inspect(connection)
    if not all(inspector.has_table(table) for table in tables):
        return None
    return {
        f"{table}.{column['name']}" for table in tables for column in inspector.get_columns(table)
    }

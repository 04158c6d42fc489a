"""Goes over the services' databases, a batch of rows at a time, beside running services.

A row is written only where it still holds what was read: what a service changes meanwhile is read
again. Killed at any moment, the next run goes on with the batch that was in hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, MetaData, Table, column, func, inspect, select, table

from infra import schema_moves
from infra.operations.redaction import batches
from infra.operations.redaction.batches import Batch
from infra.operations.redaction.columns import TEXTS, Texts
from infra.operations.redaction.contents import Contents
from infra.operations.redaction.places import Place
from infra.operations.redaction.walks import Cleaner
from shared.errors import RatchetError
from shared.rules import chosen_in
from shared.storage import Database

# Read at a time, and changed in one transaction.
ROWS = 200
NOT_YET = (schema_moves.BEHIND, schema_moves.BEFORE, schema_moves.AWAY)
Progress = Callable[[str, int], None]
"""Is told of a table, and of how many more of its rows were looked at."""


class NotUpgraded(RatchetError):
    def __init__(self, service: str, state: str) -> None:
        super().__init__(
            f"the database of {service} is {state}: 'ratchet db upgrade' brings it to this release,"
            " whose rules are to be applied"
        )


@dataclass
class Found:
    """What was found, by (service, table, column): rows, finds with their kind behind, and values
    that could not be read.
    """

    rows: Counter[tuple[str, ...]] = field(default_factory=Counter)
    finds: Counter[tuple[str, ...]] = field(default_factory=Counter)
    unreadable: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, service: str, table: str, batch: Batch) -> None:
        here = (service, table)
        self.rows.update((*here, name) for change in batch.changes for name in change.becomes)
        self.finds.update({(*here, *found): n for found, n in batch.finds.items()})
        self.unreadable.update({(*here, name): n for name, n in batch.unreadable.items()})


class Run:
    """One run over all databases. Without a place it only looks."""

    def __init__(
        self,
        urls: Mapping[str, str],
        contents: Contents,
        place: Place | None,
        progress: Progress = lambda _table, _rows: None,
    ) -> None:
        self.urls = {service: url for service, url in urls.items() if schema_moves.is_there(url)}
        self.cleaner = Cleaner(contents)
        self.place = place
        self.progress = progress
        self.found = Found()

    async def check(self) -> None:
        """Raise NotUpgraded where a database is not at the schema of this code."""
        for service, url in self.urls.items():
            state = (await schema_moves.standing(service, url)).state
            if state in NOT_YET:
                raise NotUpgraded(service, state)

    async def count(self) -> int:
        """Return how many rows there are to look at."""
        total = 0
        for service, url in self.urls.items():
            async with opened(url) as db, db.read() as connection:
                for table in (await tables_of(db, service)).values():
                    rows = await connection.execute(select(func.count()).select_from(table))
                    total += rows.scalar_one()
        return total

    async def go(self) -> Found:
        self.cleaner.chosen = await chosen_by_route(self.urls.values())
        for service, url in self.urls.items():
            async with opened(url) as db:
                tables = await tables_of(db, service)
                for texts in TEXTS[service]:
                    if texts.table in tables:
                        await self._table(service, db, tables[texts.table], texts)
        return self.found

    async def _table(self, service: str, db: Database, table: Table, texts: Texts) -> None:
        name = f"{service}.{texts.table}"
        behind = self.place.behind(name) if self.place else None
        while rows := await batches.read(db, table, texts, behind, ROWS):
            batch = batches.look(rows, texts, self.cleaner)
            if self.place and not await batches.write(db, table, texts, batch.changes):
                continue
            self.found.add(service, texts.table, batch)
            self.progress(name, batch.rows)
            behind = batch.last
            if self.place:
                self.place.note(name, behind, self.cleaner.contents.moved)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    db = Database(url)
    try:
        yield db
    finally:
        await db.close()


async def tables_of(db: Database, service: str) -> Mapping[str, Table]:
    """Return the tables of a service that hold texts, as they are."""

    def reflected(connection: Connection) -> Mapping[str, Table]:
        metadata = MetaData()
        there = set(inspect(connection).get_table_names())
        wanted = [texts.table for texts in TEXTS[service] if texts.table in there]
        metadata.reflect(connection, only=wanted)
        return metadata.tables

    async with db.read() as connection:
        return await connection.run_sync(reflected)


async def chosen_by_route(urls: Iterable[str]) -> Mapping[str, Collection[str]]:
    """Return the kinds of personal data that each route does not redact, by the newest state of it
    that any of the databases has.
    """
    book = table("routes", column("route"), column("version"), column("state"))
    found: dict[str, tuple[int, str]] = {}
    for url in urls:
        async with opened(url) as db, db.read() as connection:
            if await connection.run_sync(lambda sync: inspect(sync).has_table(book.name)):
                for route, *known in await connection.execute(select(book)):
                    found[route] = max(found.get(route, (0, "")), tuple(known))
    return {route: chosen_in(state) for route, (_, state) in found.items()}

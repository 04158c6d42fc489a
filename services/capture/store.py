"""The SQL of capture: every id it has seen, once, with the events that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Column, MetaData, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.capture.recording import Entry
from shared.events import Outbox
from shared.rules import RouteBook
from shared.storage import Database, GroupCommit, insert_many

# Written in some 10 ms: nobody's single event should wait longer than that for others' batches.
GROUP_ENTRIES = 1000
# Values in one IN (...): below every driver's limit on parameters.
IN_CLAUSE = 500


class Kept(NamedTuple):
    """What became of an entry: the id its key has, and whether that is new."""

    public_id: str
    fresh: bool


@dataclass(frozen=True)
class Owner:
    """Whose inference an id is, and on which route."""

    tenant: str
    route: str


@dataclass
class Batch:
    """The entries of one request; `kept` is filled when they are written."""

    entries: Sequence[Entry]
    kept: list[Kept] = field(default_factory=list)


class Ledger:
    """Remembers each id once: one transaction for all requests that arrive together."""

    def __init__(self, db: Database, metadata: MetaData, outbox: Outbox, book: RouteBook) -> None:
        self.db = db
        self.outbox = outbox
        self.book = book
        self.table = Table(
            "ledger",
            metadata,
            Column("key", String(64), primary_key=True),
            Column("public_id", String(64), nullable=False, index=True),
            Column("tenant", String(64), nullable=False),
            Column("route", String(200), nullable=False),
        )
        self._group: GroupCommit[Batch] = GroupCommit(
            db, self._write, lambda batch: len(batch.entries), GROUP_ENTRIES
        )

    async def check_room(self) -> None:
        """Raise BacklogFull when so much waits for the event log that no more may be taken."""
        await self.outbox.backlog.check(self.db)

    async def record(self, entries: Sequence[Entry]) -> list[Kept]:
        """Record entries and their events: durable on return.

        A key seen before keeps its first public id, and its events are not published again.
        """
        batch = Batch(entries)
        await self._group.commit(batch)
        return batch.kept

    async def owners(self, public_ids: Sequence[str]) -> dict[str, Owner]:
        """Return whose these ids are, without those that capture never gave out."""
        table = self.table
        owners: dict[str, Owner] = {}
        async with self.db.read() as connection:
            for start in range(0, len(public_ids), IN_CLAUSE):
                wanted = table.c.public_id.in_(public_ids[start : start + IN_CLAUSE])
                rows = await connection.execute(
                    select(table.c.public_id, table.c.tenant, table.c.route).where(wanted)
                )
                owners |= {row.public_id: Owner(row.tenant, row.route) for row in rows}
        return owners

    async def routes(self, tenant: str) -> set[str]:
        async with self.db.read() as connection:
            return await self.book.names(connection, tenant)

    async def _write(self, tx: AsyncConnection, batches: list[Batch]) -> None:
        first: dict[str, Entry] = {}
        for entry in (entry for batch in batches for entry in batch.entries):
            first.setdefault(entry.key, entry)
        known = await self._insert(tx, first)
        await self.outbox.add_rendered(
            tx,
            [event for key, entry in first.items() if key not in known for event in entry.events],
        )
        for batch in batches:
            batch.kept = [
                Kept(
                    known.get(entry.key, first[entry.key].public_id),
                    entry.key not in known and first[entry.key] is entry,
                )
                for entry in batch.entries
            ]

    async def _insert(self, tx: AsyncConnection, entries: dict[str, Entry]) -> dict[str, str]:
        """Insert entries; return the keys that were there before, each with its public id.

        Usually there are none, and then nothing needs to be read. Keys are inserted in one order,
        so that two transactions never wait for each other.
        """
        rows = sorted(entry[:4] for entry in entries.values())
        if await insert_many(
            tx, self.table, ("key", "public_id", "tenant", "route"), rows, unless_known=True
        ) == len(rows):
            return {}
        stored = await self._stored(tx, list(entries))
        return {
            key: public_id
            for key, public_id in stored.items()
            if public_id != entries[key].public_id
        }

    async def _stored(self, tx: AsyncConnection, keys: Sequence[str]) -> dict[str, str]:
        table = self.table
        stored: dict[str, str] = {}
        for start in range(0, len(keys), IN_CLAUSE):
            rows = await tx.execute(
                select(table.c.key, table.c.public_id).where(
                    table.c.key.in_(keys[start : start + IN_CLAUSE])
                )
            )
            stored |= {row.key: row.public_id for row in rows}
        return stored

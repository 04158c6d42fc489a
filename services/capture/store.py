"""The SQL of capture: every id it has seen, once, with the events that follow from it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Column, Index, MetaData, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.personal import Treatment
from services.capture.fits import Fits
from services.capture.recording import Entry
from shared.events import Outbox
from shared.rules import RouteBook
from shared.storage import Database, GroupCommit, insert_many

# Written in some 10 ms: nobody's single event should wait longer than that for others' batches.
GROUP_ENTRIES = 1000
# Values in one IN (...): below every driver's limit on parameters.
IN_CLAUSE = 500
# How late a change of a route is seen.
LOOK_SECONDS = 2.0


class Kept(NamedTuple):
    """What became of an entry: the id its key has, and whether that is new.

    It is a conflict where the key was there before, with other content.
    """

    public_id: str
    fresh: bool
    is_conflict: bool = False


class Stored(NamedTuple):
    """What the ledger has under a key."""

    public_id: str
    route: str
    content: str | None


@dataclass(frozen=True)
class Owner:
    """Whose inference an id is, and on which route."""

    tenant: str
    route: str


Routes = Mapping[str, Mapping[str, Treatment]]
"""By their names, what personal data is not redacted there."""


class Known(NamedTuple):
    """The routes of a tenant, as they were at a moment of the monotonic clock."""

    by_name: Routes
    read_at: float

    def is_old(self) -> bool:
        return time.monotonic() - self.read_at > LOOK_SECONDS


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
            # A digest of the main facts. NULL: stored by release 0.1, under a key of the tenant's.
            Column("content", String(32)),
        )
        self._routes: dict[str, Known] = {}
        self.fits = Fits(db, metadata)
        self._is_old = self.table.c.content.is_(None)
        Index(
            "ledger_old", self.table.c.key, sqlite_where=self._is_old, postgresql_where=self._is_old
        )
        self._group: GroupCommit[Batch] = GroupCommit(
            db, self._write, lambda batch: len(batch.entries), GROUP_ENTRIES
        )

    async def check_room(self) -> None:
        """Raise BacklogFull when so much waits for the event log that no more may be taken."""
        await self.outbox.backlog.check(self.db)

    async def record(self, entries: Sequence[Entry]) -> list[Kept]:
        """Record entries and their events: durable on return.

        A key seen before keeps its first public id, and its events are not published again; with
        other content it is a conflict.
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

    async def routes(self, tenant: str, named: Iterable[str] = ()) -> Routes:
        """Return a tenant's routes: from memory, unless they were read a while ago or one is named
        that is not among them.
        """
        known = self._routes.get(tenant)
        if known is None or known.is_old() or not known.by_name.keys() >= set(named):
            async with self.db.read() as connection:
                found = await self.book.personal(connection, tenant)
            known = self._routes[tenant] = Known(found, time.monotonic())
        return known.by_name

    async def write(self, tx: AsyncConnection, entries: Sequence[Entry]) -> list[Kept]:
        """Record entries in a transaction of the caller's."""
        batch = Batch(entries)
        await self._write(tx, [batch])
        return batch.kept

    async def _write(self, tx: AsyncConnection, batches: list[Batch]) -> None:
        first: dict[str, Entry] = {}
        for entry in (entry for batch in batches for entry in batch.entries):
            first.setdefault(entry.key, entry)
        known = await self._known_of_old(tx, list(first.values()))
        new = {key: entry for key, entry in first.items() if key not in known}
        known |= await self._insert(tx, new)
        await self.outbox.add_rendered(
            tx,
            [event for key, entry in first.items() if key not in known for event in entry.events],
        )
        for batch in batches:
            batch.kept = [kept(entry, first[entry.key], known) for entry in batch.entries]

    async def _known_of_old(
        self, tx: AsyncConnection, entries: Sequence[Entry]
    ) -> dict[str, Stored]:
        """Return what release 0.1 stored of these, by the keys of today.

        It knew neither applications nor contents: the same id on the same route is the same there.
        Once its rows are none, or were never any, this costs one look at an empty index.
        """
        table = self.table
        any_old = select(table.c.key).where(self._is_old).limit(1)
        if (await tx.execute(any_old)).first() is None:
            return {}
        old_keys = {entry.key: old for entry in entries if (old := entry.old_key())}
        stored = await self._stored(tx, sorted(set(old_keys.values())))
        found = {entry.key: stored.get(old_keys.get(entry.key, "")) for entry in entries}
        return {
            entry.key: row
            for entry in entries
            if (row := found[entry.key]) and row.content is None and row.route == entry.route
        }

    async def _insert(self, tx: AsyncConnection, entries: dict[str, Entry]) -> dict[str, Stored]:
        """Insert entries; return the keys that were there before, each with what is stored.

        Usually there are none, and then nothing needs to be read. Keys are inserted in one order,
        so that two transactions never wait for each other.
        """
        rows = sorted(entry[:5] for entry in entries.values())
        names = ("key", "public_id", "tenant", "route", "content")
        if await insert_many(tx, self.table, names, rows, unless_known=True) == len(rows):
            return {}
        stored = await self._stored(tx, list(entries))
        return {key: row for key, row in stored.items() if row.public_id != entries[key].public_id}

    async def _stored(self, tx: AsyncConnection, keys: Sequence[str]) -> dict[str, Stored]:
        table = self.table
        stored: dict[str, Stored] = {}
        columns = select(table.c.key, table.c.public_id, table.c.route, table.c.content)
        for start in range(0, len(keys), IN_CLAUSE):
            rows = await tx.execute(columns.where(table.c.key.in_(keys[start : start + IN_CLAUSE])))
            stored |= {row.key: Stored(row.public_id, row.route, row.content) for row in rows}
        return stored


def kept(entry: Entry, first: Entry, known: Mapping[str, Stored]) -> Kept:
    """Say what became of an entry; `first` is the one of its key in this transaction."""
    stored = known.get(entry.key)
    if stored is None:
        return Kept(first.public_id, first is entry, entry.content != first.content)
    return Kept(stored.public_id, False, stored.content not in (None, entry.content))

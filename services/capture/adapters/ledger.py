"""Every id capture has seen, once, with the events that follow: one transaction for all that arrive together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Column, MetaData, String, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.capture.ports import Entry, Kept, Owner
from shared.db import Database
from shared.group_commit import GroupCommit
from shared.outbox import Outbox
from shared.routes import RouteBook

SHARED_ENTRIES = 32  # larger requests pay for a flush of their own, so that a group stays small
IN_CLAUSE = 500


@dataclass
class Batch:
    entries: Sequence[Entry]
    kept: list[Kept] = field(default_factory=list)


class DatabaseLedger:
    def __init__(self, db: Database, metadata: MetaData, outbox: Outbox, book: RouteBook) -> None:
        self.db, self.outbox, self.book = db, outbox, book
        self.table = Table("ledger", metadata, Column("key", String(64), primary_key=True), Column("public_id", String(64), nullable=False, index=True),
                           Column("tenant", String(64), nullable=False), Column("route", String(200), nullable=False))  # fmt: skip
        self._group: GroupCommit[Batch] = GroupCommit(db, self._write)

    async def record(self, entries: Sequence[Entry]) -> list[Kept]:
        batch = Batch(entries)
        if len(entries) <= SHARED_ENTRIES:
            await self._group.commit(batch)
        else:
            async with self.db.transaction() as tx:
                await self._write(tx, [batch])
        return batch.kept

    async def owners(self, public_ids: Sequence[str]) -> dict[str, Owner]:
        table, owners = self.table, {}
        async with self.db.read() as connection:
            for start in range(0, len(public_ids), IN_CLAUSE):
                wanted = table.c.public_id.in_(public_ids[start : start + IN_CLAUSE])
                rows = await connection.execute(select(table.c.public_id, table.c.tenant, table.c.route).where(wanted))
                owners |= {row.public_id: Owner(row.tenant, row.route) for row in rows}
        return owners

    async def routes(self, tenant: str) -> set[str]:
        async with self.db.read() as connection:
            return await self.book.names(connection, tenant)

    async def _write(self, tx: AsyncConnection, batches: list[Batch]) -> None:
        first: dict[str, Entry] = {}
        for entry in (entry for batch in batches for entry in batch.entries):
            first.setdefault(entry.key, entry)
        fresh = await self._insert(tx, first)
        known = await self._known(tx, [key for key in first if key not in fresh])
        await self.outbox.add(tx, *(event for key, entry in first.items() if key in fresh for event in entry.events))
        for batch in batches:
            batch.kept = [Kept(known.get(entry.key, first[entry.key].public_id), entry.key in fresh and first[entry.key] is entry)
                          for entry in batch.entries]  # fmt: skip

    async def _insert(self, tx: AsyncConnection, entries: dict[str, Entry]) -> set[str]:
        """The keys that were new. In one order for all, so that two transactions never wait for each other."""
        dialect = sqlite if self.db.is_sqlite else postgresql
        statement = dialect.insert(self.table).on_conflict_do_nothing().returning(self.table.c.key)
        rows = [{"key": key, "public_id": entry.public_id, "tenant": entry.events[0].tenant, "route": entry.events[0].route}
                for key, entry in sorted(entries.items())]  # fmt: skip
        return set((await tx.execute(statement, rows)).scalars())

    async def _known(self, tx: AsyncConnection, keys: Sequence[str]) -> dict[str, str]:
        table, known = self.table, {}
        for start in range(0, len(keys), IN_CLAUSE):
            rows = await tx.execute(select(table.c.key, table.c.public_id).where(table.c.key.in_(keys[start : start + IN_CLAUSE])))
            known |= {row.key: row.public_id for row in rows}
        return known

"""Compares two databases, each row by a digest of its derived columns; content is never shown."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Any

from sqlalchemy import MetaData, Select, Table, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.operations.moments import born
from schemas.base import JsonObject
from shared.clock import now, utc
from shared.storage import Database
from tests.faults.replay.derived import Derived

ROWS = 2000
SHOWN = 10


@dataclass
class Compared:
    """`fingerprint`: SHA-256 over the sorted rows, one for each side; equal when all rows are."""

    derived: Derived
    live: int = 0
    rebuilt: int = 0
    equal: int = 0
    settled: int = 0
    forgotten: int = 0
    differ: list[str] = field(default_factory=list)
    only_live: list[str] = field(default_factory=list)
    only_rebuilt: list[str] = field(default_factory=list)
    fingerprints: tuple[str, str] = ("", "")

    @property
    def same(self) -> bool:
        return not (self.differ or self.only_live or self.only_rebuilt)

    def as_json(self) -> JsonObject:
        keys = {
            name: getattr(self, name)[:SHOWN] for name in ("differ", "only_live", "only_rebuilt")
        }
        counts = {f"{name}_count": len(getattr(self, name)) for name in keys}
        return {
            "table": self.derived.table,
            "columns": self.derived.columns,
            "without": self.derived.without,
            "same": self.same,
            "live": self.live,
            "rebuilt": self.rebuilt,
            "equal": self.equal,
            "settled": self.settled,
            "forgotten": self.forgotten,
            "fingerprints": self.fingerprints,
            **keys,
            **counts,
        }


async def compare(live: Database, scratch: Database, derived: Derived) -> Compared:
    settled = await keys(live, derived, derived.settled) if derived.settled else set()
    rows = await digests(live, derived, settled)
    rebuilt = await digests(scratch, derived, settled)
    forgotten = {key for key in rebuilt.keys() - rows.keys() if may_be_forgotten(key, derived)}
    rebuilt = {key: row for key, row in rebuilt.items() if key not in forgotten}
    both = rows.keys() & rebuilt.keys()
    differ = sorted(key for key in both if rows[key] != rebuilt[key])
    return Compared(
        derived,
        len(rows),
        len(rebuilt),
        len(both) - len(differ),
        len(settled),
        len(forgotten),
        differ,
        sorted(rows.keys() - both),
        sorted(rebuilt.keys() - both),
        (fingerprint(rows), fingerprint(rebuilt)),
    )


def may_be_forgotten(key: str, derived: Derived) -> bool:
    """Say whether the live service may have deleted the row; where its id tells no age, it may."""
    made = born(key.rpartition("/")[2])
    return derived.forgets is not None and (made is None or now() - made >= derived.forgets_after)


async def keys(db: Database, derived: Derived, where: str) -> set[str]:
    table = await reflected(db, derived.table)
    wanted = select(*(table.c[name] for name in derived.key)).where(text(where))
    return {key_of(row) async for row in stream(db, wanted)}


async def digests(db: Database, derived: Derived, without: set[str]) -> dict[str, bytes]:
    """Return a digest of each row by its key: about 250 bytes a row in memory."""
    table = await reflected(db, derived.table)
    width = len(derived.key)
    wanted = select(*(table.c[name] for name in (*derived.key, *derived.columns)))
    return {
        key: digest(row[width:])
        async for row in stream(db, wanted)
        if (key := key_of(row[:width])) not in without
    }


def fingerprint(rows: dict[str, bytes]) -> str:
    whole = sha256()
    for key in sorted(rows):
        whole.update(key.encode() + b"\0" + rows[key])
    return whole.hexdigest()


def key_of(values: Sequence[Any]) -> str:
    return "/".join(str(value) for value in values)


def digest(values: Sequence[Any]) -> bytes:
    return blake2b(json.dumps([plain(value) for value in values]).encode(), digest_size=16).digest()


def plain(value: Any) -> Any:
    """Make a value plain JSON, which is the same from SQLite and from Postgres."""
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return utc(value).isoformat()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return value


async def stream(db: Database, wanted: Select) -> AsyncIterator[Any]:
    async with db.read() as connection:
        async for some in (await connection.stream(wanted)).partitions(ROWS):
            for row in some:
                yield row


async def reflected(db: Database, name: str) -> Table:
    async with db.read() as connection:
        return await connection.run_sync(lambda sync: Table(name, MetaData(), autoload_with=sync))


async def copy_table(live: Database, scratch: Database, name: str) -> None:
    """Copy a table that came over HTTP, and that the handlers must find."""
    source = await reflected(live, name)
    target = await reflected(scratch, name)
    async with scratch.transaction(wake=False) as tx:
        rows = [dict(row._mapping) async for row in stream(live, select(source))]
        await fill(tx, target, rows)


async def fill(tx: AsyncConnection, table: Table, rows: list[JsonObject]) -> None:
    if rows:
        await tx.execute(insert(table), rows)

"""Some rows of a table: read in the order of their keys, looked at, and written where they hold
finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Boolean, Row, Table, column, literal, select, tuple_, update
from sqlalchemy import table as named_table
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.operations.redaction.columns import Texts
from infra.operations.redaction.walks import Cleaner, Unreadable
from shared.storage import Database

Key = Sequence[Any]


@dataclass(frozen=True)
class Change:
    """A row that holds finds: what it was by column, and what it becomes."""

    key: Key
    was: Mapping[str, Any]
    becomes: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Some rows that were looked at; what was found is counted by column, finds by kind as well."""

    rows: int
    last: Key
    changes: Sequence[Change]
    finds: Mapping[tuple[str, str], int]
    unreadable: Mapping[str, int]


async def read(
    db: Database, table: Table, texts: Texts, behind: Key | None, most: int
) -> Sequence[Row[Any]]:
    """Return the next rows behind a key: their key first, then their route, then the texts."""
    keys = list(table.primary_key.columns)
    route = table.c.route if "route" in table.c else literal("")
    told = [*keys, route.label("of_route"), *(table.c[name] for name in texts.columns)]
    wanted = select(*told)
    if behind is not None:
        here = tuple_(*(literal(at, key.type) for key, at in zip(keys, behind, strict=True)))
        wanted = wanted.where(tuple_(*keys) > here)
    async with db.read() as connection:
        return (await connection.execute(wanted.order_by(*keys).limit(most))).all()


def look(rows: Sequence[Row[Any]], texts: Texts, cleaner: Cleaner) -> Batch:
    """Redact rows, each beside its key, as their routes want it."""
    finds, unreadable = Counter[tuple[str, str]](), Counter[str]()
    changes = []
    for row in rows:
        *key, route = row[: -len(texts.columns)]
        values = dict(zip(texts.columns, row[-len(texts.columns) :], strict=True))
        becomes = {}
        for name, value, kept in redacted(values, route, texts, cleaner, unreadable):
            if kept != value:
                becomes[name] = kept
                finds.update({(name, kind): n for kind, n in cleaner.finds.items()})
        if becomes:
            was = {name: values[name] for name in becomes}
            changes.append(Change(key, was, becomes))
    return Batch(len(rows), key, changes, finds, unreadable)


def redacted(
    values: Mapping[str, Any],
    route: str,
    texts: Texts,
    cleaner: Cleaner,
    unreadable: Counter[str],
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the columns with what they hold and what is left of it; count what cannot be read."""
    for name, value in values.items():
        if value is None:
            continue
        cleaner.finds.clear()
        cleaner.of(route)
        try:
            yield name, value, texts.columns[name](value, cleaner)
        except Unreadable:
            unreadable[name] += 1


async def write(db: Database, table: Table, texts: Texts, changes: Sequence[Change]) -> bool:
    """Write changes in one transaction; return False where a row is not what was read any more.
    The others are written all the same.
    """
    if not changes:
        return True
    written = True
    async with db.transaction(wake=False) as tx:
        if db.is_sqlite:
            # Or what was overwritten would stay in the file, where no row shows it.
            await tx.exec_driver_sql("PRAGMA secure_delete = ON")
        for change in changes:
            written &= await write_row(tx, table, change)
        if texts.promised:
            await take_back(tx, *texts.promised, [change.key[0] for change in changes])
    return written


async def write_row(tx: AsyncConnection, table: Table, change: Change) -> bool:
    mine = [key == at for key, at in zip(table.primary_key.columns, change.key, strict=True)]
    # Postgres does not compare JSON; orders of jobs never change.
    same = [
        table.c[name] == was
        for name, was in change.was.items()
        if not isinstance(table.c[name].type, JSON)
    ]
    return (
        await tx.execute(update(table).where(*mine, *same).values(**change.becomes))
    ).rowcount == 1


async def take_back(
    tx: AsyncConnection, table: str, promise: str, inference_ids: Sequence[str]
) -> None:
    """Note that the answers of these inferences are no more what was given."""
    promises = named_table(table, column("inference_id"), column(promise, Boolean))
    mine = promises.c.inference_id.in_(inference_ids)
    await tx.execute(update(promises).where(mine).values({promise: False}))

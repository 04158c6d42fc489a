"""Many rows in one go, for the paths that thousands of events a second take: executemany on SQLite,
one unnest() on Postgres.

SQLAlchemy spends as long on a row before the driver sees it as SQLite on storing it: capture's two
inserts and the relay's mark cost 32 us of CPU an event with it and 18 without.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, String, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

Row = tuple[Any, ...]


async def insert_many(
    tx: AsyncConnection,
    table: Table,
    names: tuple[str, ...],
    rows: Sequence[Row],
    *,
    unless_known: bool = False,
) -> int:
    """Insert values in the order of `names`; how many were. `unless_known` leaves out rows whose
    primary or unique key exists.

    Values are what the driver takes; for times see `stored`.
    """
    return await _run(tx, insert_statement(table, names, unless_known, tx.dialect.name), rows)


async def update_many(
    tx: AsyncConnection, table: Table, names: tuple[str, ...], key: str, rows: Sequence[Row]
) -> int:
    """Set `names` where `key` is the last value of a row."""
    return await _run(tx, update_statement(table, names, key, tx.dialect.name), rows)


def stored(column: Column[Any], value: Any, dialect: Dialect) -> Any:
    """The value as the driver takes it: SQLite's has no times, so they are text there. Once for a
    whole batch.
    """
    convert = column.type.dialect_impl(dialect).bind_processor(dialect)
    return convert(value) if convert else value


async def _run(tx: AsyncConnection, statement: str, rows: Sequence[Row]) -> int:
    if not rows:
        return 0
    parameters = (
        list(rows)
        if tx.dialect.name == "sqlite"
        else tuple(list(values) for values in zip(*rows, strict=True))
    )
    return (await tx.exec_driver_sql(statement, parameters)).rowcount


@lru_cache(64)
def insert_statement(table: Table, names: tuple[str, ...], unless_known: bool, dialect: str) -> str:
    """Names come from our own tables; values are bound."""
    values = (
        f"VALUES ({marks(names)})"
        if dialect == "sqlite"
        else f"SELECT * FROM {unnested(table, names)}"  # noqa: S608
    )
    return (
        f"INSERT INTO {table.name} ({', '.join(names)})"
        f" {values}{' ON CONFLICT DO NOTHING' if unless_known else ''}"
    )


@lru_cache(64)
def update_statement(table: Table, names: tuple[str, ...], key: str, dialect: str) -> str:
    if dialect == "sqlite":
        return (
            f"UPDATE {table.name}"  # noqa: S608
            f" SET {', '.join(f'{name} = ?' for name in names)} WHERE {key} = ?"
        )
    settings = ", ".join(f"{name} = new.{name}" for name in names)
    columns = (*names, key)
    source = f"{unnested(table, columns)} AS new ({', '.join(columns)})"
    return (
        f"UPDATE {table.name} SET {settings}"  # noqa: S608
        f" FROM {source} WHERE {table.name}.{key} = new.{key}"
    )


def marks(names: tuple[str, ...]) -> str:
    return ", ".join("?" for _ in names)


def unnested(table: Table, names: tuple[str, ...]) -> str:
    arrays = (f"${n}::{array_of(table.c[name])}" for n, name in enumerate(names, start=1))
    return f"unnest({', '.join(arrays)})"


def array_of(column: Column[Any]) -> str:
    """TEXT for every string: a cast to VARCHAR(n) would cut what is too long instead of refusing
    it.
    """
    from sqlalchemy.dialects import postgresql

    kind = "TEXT" if isinstance(column.type, String) else column.type.compile(postgresql.dialect())
    return f"{kind}[]"

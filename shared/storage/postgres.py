"""Postgres: many writers, row locks. Everything that is so only there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    LargeBinary,
    Select,
    String,
    Table,
    any_,
    cast,
    delete,
    func,
    literal,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.storage.dialect import BulkRow

# Beginnings of SQLSTATEs: serialisation, deadlock, out of resources, shutting down, connection.
MAY_PASS = ("40001", "40P01", "53", "57P", "08")
LOCK_NOT_AVAILABLE = "55P03"
MIGRATION_LOCK = int.from_bytes(b"Ratchet")  # the name of the advisory lock
TABLE_LOCK_WAIT = "3s"


class Postgres:
    """Postgres 15 or later, through asyncpg."""

    name = "postgresql"

    def make_engine(self, url: str) -> AsyncEngine:
        # Parameters are user content, and errors end up in logs and DLQ headers.
        return create_async_engine(url, pool_pre_ping=True, hide_parameters=True)

    def writer(self) -> nullcontext[None]:
        return nullcontext()

    def may_pass(self, error: DBAPIError) -> bool:
        state: str | None = getattr(error.orig, "sqlstate", None)
        if state and not error.connection_invalidated:
            return state.startswith(MAY_PASS)
        return error.connection_invalidated

    def clock(self) -> ColumnElement[float]:
        return cast(func.extract("epoch", func.clock_timestamp()), postgresql.DOUBLE_PRECISION)

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def bulk_rows(self, columns: int) -> int:  # noqa: ARG002
        return sys.maxsize  # each column is one array

    def bulk_insert(self, table: Table, names: Sequence[str], conflict: str, _: int) -> str:
        rows = f"SELECT * FROM {_unnested(table, names)}"  # noqa: S608 - our own names
        return f"INSERT INTO {table.name} ({', '.join(names)}) {rows}{conflict}"

    def bulk_update(self, table: Table, names: Sequence[str], key: str, _: int) -> str:
        assignments = ", ".join(f"{name} = new.{name}" for name in names)
        columns = (*names, key)
        source = f"{_unnested(table, columns)} AS new ({', '.join(columns)})"
        return (
            f"UPDATE {table.name} SET {assignments}"  # noqa: S608 - our own names
            f" FROM {source} WHERE {table.name}.{key} = new.{key}"
        )

    def bulk_parameters(self, rows: Sequence[BulkRow]) -> tuple[list[Any], ...]:
        return tuple(list(values) for values in zip(*rows, strict=True))

    def delete_first(
        self, table: Table, chosen: ColumnElement[bool], by: Column[Any], rows: int
    ) -> Delete:
        """Judge a row again by `chosen` where it was changed meanwhile."""
        address: ColumnElement[Any] = literal_column("ctid")
        first = select(address).select_from(table).where(chosen).order_by(by).limit(rows)
        found = func.array(first.correlate(None).scalar_subquery())
        return delete(table).where(address == any_(found), chosen)

    async def settle_log(self, engine: AsyncEngine) -> None:
        """Do nothing: the server's own checkpointer does."""

    def skip_locked(self, rows: Select[Any]) -> Select[Any]:
        return rows.with_for_update(skip_locked=True)

    async def end_if_idle(self, tx: AsyncConnection, seconds: float) -> None:
        limit = round(seconds * 1000)
        await tx.execute(text(f"set local idle_in_transaction_session_timeout = {limit}"))

    async def lock_for_migration(self, tx: AsyncConnection) -> None:
        """Take a lock that ends with the transaction, however the process ends.

        A table that is waited for is closed to everybody who comes later: better to let them pass
        and try again.
        """
        await tx.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        await tx.execute(select(func.set_config("lock_timeout", TABLE_LOCK_WAIT, True)))

    def waited_too_long(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE

    def contains(self, column: Column[Any], part: bytes) -> ColumnElement[bool]:
        """Compare as hexadecimal text: Postgres has no search in bytes that is not ASCII."""
        needle = cast(literal(part, LargeBinary), LargeBinary)
        return func.strpos(func.encode(column, "hex"), func.encode(needle, "hex")) > 0


def _unnested(table: Table, names: Sequence[str]) -> str:
    arrays = (f"${n}::{_array_of(table.c[name])}" for n, name in enumerate(names, start=1))
    return f"unnest({', '.join(arrays)})"


def _array_of(column: Column[Any]) -> str:
    """Name the type of an array of this column's values.

    TEXT for every string: a cast to VARCHAR(n) would cut what is too long instead of refusing it.
    """
    if isinstance(column.type, String):
        return "TEXT[]"
    kind = column.type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]
    return f"{kind}[]"

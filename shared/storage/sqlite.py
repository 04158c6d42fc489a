"""SQLite: one file, one writer. Everything that is so only there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Connection as DriverConnection
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Select,
    Table,
    delete,
    event,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.storage.dialect import BulkRow
from shared.storage.seams import use_one_visit

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

MAY_PASS = ("database is locked", "disk is full", "disk I/O error", "readonly database")
UNIX_EPOCH = 2440587.5  # as a Julian day
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # a commit survives power loss, not just a crash of the process
    "busy_timeout=10000",
    "foreign_keys=ON",
    # A checkpoint every 16 MB and not every 4: pages that many commits change are copied into the
    # database less often (7.7 us of commit for each event captured became 5.9).
    "wal_autocheckpoint=4000",
)

# SQLite takes 32,766 since 3.32 (SQLITE_MAX_VARIABLE_NUMBER).
MOST_VARIABLES = 32_000


class Sqlite:
    """SQLite with a write-ahead log, through aiosqlite."""

    name = "sqlite"

    def make_engine(self, url: str) -> AsyncEngine:
        parsed = make_url(url)
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        use_one_visit()
        engine = create_async_engine(
            url,
            hide_parameters=True,  # parameters are user content, and errors end up in logs
            pool_reset_on_return=None,  # _reset does it, without a second visit to the thread
        )
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "reset", _reset)
        return engine

    def writer(self) -> asyncio.Lock:
        """Return a lock: waiting in line costs less than SQLite's busy handler, which polls."""
        return asyncio.Lock()

    def may_pass(self, error: DBAPIError) -> bool:
        return error.connection_invalidated or any(words in str(error.orig) for words in MAY_PASS)

    def clock(self) -> ColumnElement[float]:
        return (func.julianday("now") - UNIX_EPOCH) * 86400.0

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def bulk_rows(self, columns: int) -> int:
        return MOST_VARIABLES // columns

    def bulk_insert(self, table: Table, names: Sequence[str], conflict: str, rows: int) -> str:
        into = f"{table.name} ({', '.join(names)})"
        return f"INSERT INTO {into} {_values(len(names), rows)}{conflict}"

    def bulk_update(self, table: Table, names: Sequence[str], key: str, rows: int) -> str:
        assignments = ", ".join(
            f"{name} = new.column{number}" for number, name in enumerate(names, start=1)
        )
        columns = len(names) + 1
        return (
            f"UPDATE {table.name} SET {assignments}"  # noqa: S608 - our own names
            f" FROM ({_values(columns, rows)}) AS new"
            f" WHERE {table.name}.{key} = new.column{columns}"
        )

    def bulk_parameters(self, rows: Sequence[BulkRow]) -> BulkRow:
        """Return all values in one row: one step of one statement stores them.

        The driver takes the interpreter's lock again after each step, for which it waits up to 5 ms
        while a busy event loop holds it: 256 rows took 20 to 740 ms as so many steps.
        """
        return tuple(value for row in rows for value in row)

    def delete_first(
        self, table: Table, chosen: ColumnElement[bool], by: Column[Any], rows: int
    ) -> Delete:
        address: ColumnElement[int] = literal_column("rowid")
        first = select(address).select_from(table).where(chosen).order_by(by).limit(rows)
        return delete(table).where(address.in_(first.correlate(None)))

    async def settle_log(self, engine: AsyncEngine) -> None:
        """Checkpoint beside the writers. By itself SQLite does it within the commit that fills the
        log: while many rows are deleted that held up all writes for 70 ms, twice a second.
        """
        async with engine.connect() as connection:
            alone = await connection.execution_options(isolation_level="AUTOCOMMIT", read_only=True)
            await alone.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def skip_locked(self, rows: Select[Any]) -> Select[Any]:
        return rows  # there is one writer, so nothing is locked while it looks

    async def end_if_idle(self, tx: AsyncConnection, seconds: float) -> None:
        """Do nothing: SQLite has no such limit, and a stopped process blocks all who write."""

    async def lock_for_migration(self, tx: AsyncConnection) -> None:
        """Do nothing: BEGIN IMMEDIATE is that lock."""

    def waited_too_long(self, error: DBAPIError) -> bool:  # noqa: ARG002
        return False  # `may_pass` covers a locked database

    def contains(self, column: Column[Any], part: bytes) -> ColumnElement[bool]:
        return func.instr(column, literal(part, column.type)) > 0


def _values(columns: int, rows: int) -> str:
    marks = f"({', '.join('?' * columns)})"
    return f"VALUES {', '.join([marks] * rows)}"


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # the adapter has its interface
    driver: DriverConnection = connection  # type: ignore[assignment]
    driver.isolation_level = None  # the driver must not open transactions by itself
    for pragma in PRAGMAS:
        driver.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _reset(connection: DBAPIConnection, _: ConnectionPoolEntry, state: PoolResetState) -> None:
    """Roll back what was left open.

    What the pool does by default costs a visit to the connection's thread, also after a commit.
    """
    if not state.terminate_only and connection.driver_connection.in_transaction:
        connection.rollback()

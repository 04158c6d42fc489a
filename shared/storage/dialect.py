"""What differs between the databases: the interface that sqlite.py and postgres.py implement."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sqlalchemy import Column, ColumnElement, Delete, Select, Table
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

BulkRow = tuple[Any, ...]
"""One row for the driver: values in the order of the columns that were named."""


class Dialect(Protocol):
    """One kind of database. It holds no state, so one instance serves every connection."""

    name: str
    """What SQLAlchemy calls it: `connection.dialect.name`."""

    def __hash__(self) -> int:
        """Serve as a key of the caches of statements."""

    def make_engine(self, url: str) -> AsyncEngine:
        """Make the engine behind `url`, so that it keeps its data and hides its parameters."""

    def writer(self) -> AbstractAsyncContextManager[object]:
        """Return what a transaction holds while it writes; one for each `Database`."""

    def may_pass(self, error: DBAPIError) -> bool:
        """Say whether the same transaction may succeed later: locked, cut off, out of space."""

    def clock(self) -> ColumnElement[float]:
        """Return the seconds since the epoch by the database's clock."""

    def insert(self, table: Table) -> SqliteInsert | PostgresInsert:
        """Begin an INSERT that knows ON CONFLICT."""

    def bulk_rows(self, columns: int) -> int:
        """Return how many rows of so many values one of the two statements below takes."""

    def bulk_insert(self, table: Table, names: Sequence[str], conflict: str, rows: int) -> str:
        """Write the INSERT of so many rows in one go; `conflict` ends it."""

    def bulk_update(self, table: Table, names: Sequence[str], key: str, rows: int) -> str:
        """Write the UPDATE of so many rows in one go, each found by its `key`."""

    def bulk_parameters(self, rows: Sequence[BulkRow]) -> Any:
        """Turn rows into what the driver takes for the two statements above."""

    def delete_first(
        self, table: Table, chosen: ColumnElement[bool], by: Column[Any], rows: int
    ) -> Delete:
        """Delete the first `rows` of what is `chosen`, in the order of `by`, each by its address.

        By its key, Postgres would read a whole table rather than look up 500 rows in it.
        """

    async def settle_log(self, engine: AsyncEngine) -> None:
        """Copy what was committed from the write-ahead log to the tables, in nobody's way."""

    def skip_locked(self, rows: Select[Any]) -> Select[Any]:
        """Lock what is selected and leave out what somebody else has locked."""

    async def end_if_idle(self, tx: AsyncConnection, seconds: float) -> None:
        """Give up this transaction when its process stands still within it for `seconds`."""

    async def lock_for_migration(self, tx: AsyncConnection) -> None:
        """Let one migration at a time in, and keep it from waiting long for a table in use."""

    def waited_too_long(self, error: DBAPIError) -> bool:
        """Say whether a migration found a table in use."""

    def contains(self, column: Column[Any], part: bytes) -> ColumnElement[bool]:
        """Match rows whose binary `column` holds `part`."""

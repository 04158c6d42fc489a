"""Where we reach into aiosqlite and SQLAlchemy: one visit to the connection's thread a statement.

aiosqlite sends every call there by itself: make a cursor, execute, fetch, close. Each visit wakes
two threads and costs 17 us of CPU at best; a small transaction made eleven of them, now four.
Neither library has a setting for it, hence their private attributes. Holds for SQLAlchemy 2.0 and
aiosqlite 0.22; tests/unit/shared/test_sqlite_driver.py fails when they go.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_cursor
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.util import EMPTY_DICT


class Nothing:
    """What a cursor says of itself before its first statement."""

    description = lastrowid = None
    rowcount = -1
    arraysize = 1


class OneVisitCursor(AsyncAdapt_dbapi_cursor):
    """The cursor SQLAlchemy works with; when a statement returns, its rows are here and the
    driver's own cursor is closed.
    """

    __slots__ = ()

    def __init__(self, adapt_connection: Any) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection  # noqa: SLF001
        self._cursor = Nothing()  # type: ignore[assignment]  # the part of it that is asked for
        self._rows = deque()
        self._soft_closed_memoized = EMPTY_DICT

    async def _execute_async(self, operation: str, parameters: Any) -> None:
        await self._visit(lambda connection: connection.execute(operation, parameters or ()))

    async def _executemany_async(self, operation: str, seq_of_parameters: Any) -> None:
        await self._visit(lambda connection: connection.executemany(operation, seq_of_parameters))

    async def _visit(self, statement: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> None:
        async with self._adapt_connection._execute_mutex:  # noqa: SLF001
            driver = self._connection
            execute = driver._execute  # noqa: SLF001
            self._cursor, rows = await execute(whole, driver._conn, statement)  # noqa: SLF001
            self._rows = deque(rows)

    async def _async_soft_close(self) -> None:
        """Do nothing: nothing is open."""

    def close(self) -> None:
        self._rows.clear()


def whole(
    connection: sqlite3.Connection, statement: Callable[[sqlite3.Connection], sqlite3.Cursor]
) -> tuple[sqlite3.Cursor, list[Any]]:
    """Run a statement and fetch its rows, in the connection's thread.

    A closed cursor still tells its description and its counts.
    """
    cursor = statement(connection)
    rows = cursor.fetchall() if cursor.description else []
    cursor.close()
    return cursor, rows


def use_one_visit() -> None:
    """Use this cursor for every SQLite connection that SQLAlchemy opens in this process."""
    AsyncAdapt_aiosqlite_connection._cursor_cls = OneVisitCursor  # type: ignore[assignment]  # noqa: SLF001

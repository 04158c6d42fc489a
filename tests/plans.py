"""How a database would run a statement: which indexes it uses, which tables it reads whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ClauseElement

from shared.storage.db import Database

Statement = tuple[str, Any]


async def plan_of(db: Database, statement: ClauseElement) -> str:
    """Return the plan in the database's own words.

    Postgres reads a small table whole whatever its indexes: it is told that this costs a lot, so
    that it does so only where there is no other way.
    """
    written = str(statement.compile(db.engine.sync_engine, compile_kwargs={"literal_binds": True}))
    async with db.read() as connection:
        return await _plan(db, connection, written, ())


async def plans_of(db: Database, statements: Iterable[Statement]) -> dict[str, str]:
    """Return the plan of each statement that `statements_in` collected."""
    async with db.read() as connection:
        return {sql: await _plan(db, connection, sql, values) for sql, values in statements}


async def _plan(db: Database, connection: AsyncConnection, sql: str, values: Any) -> str:
    if not db.is_sqlite:
        await connection.execute(text("set local enable_seqscan = off"))
    explain = "explain query plan " if db.is_sqlite else "explain "
    rows = (await connection.exec_driver_sql(explain + sql, values)).all()
    return "\n".join(str(row[-1]) for row in rows)


@contextmanager
def statements_in(db: Database) -> Iterator[dict[str, Any]]:
    """Collect what is read, changed and deleted meanwhile: each statement once, with values."""
    seen: dict[str, Any] = {}

    def note(_: Any, __: Any, sql: str, values: Any, *___: Any) -> None:
        if sql.split(None, 1)[0].upper() in ("SELECT", "UPDATE", "DELETE"):
            seen.setdefault(sql, values)

    event.listen(db.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine.sync_engine, "before_cursor_execute", note)

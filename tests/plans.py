"""How a database would run a statement: which indexes it uses, which tables it reads whole."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.sql import ClauseElement

from shared.storage.db import Database


async def plan_of(db: Database, statement: ClauseElement) -> str:
    """Return the plan in the database's own words.

    Postgres reads a small table whole whatever its indexes: it is told that this costs a lot, so
    that it does so only where there is no other way.
    """
    written = str(statement.compile(db.engine.sync_engine, compile_kwargs={"literal_binds": True}))
    async with db.read() as connection:
        if not db.is_sqlite:
            await connection.execute(text("set local enable_seqscan = off"))
        explain = "explain query plan " if db.is_sqlite else "explain "
        rows = (await connection.exec_driver_sql(explain + written)).all()
    return "\n".join(str(row[-1]) for row in rows)

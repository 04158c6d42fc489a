"""One visit to SQLite's thread for each statement: what SQLAlchemy sees is what it saw before, and
no connection comes back dirty.
"""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from shared.storage.db import Database

metadata = MetaData()
THINGS = Table(
    "things",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(8), unique=True),
)


class Visits:
    """Counts what is sent to the thread of a connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import aiosqlite

        self.count = 0
        original = aiosqlite.Connection._execute

        async def counted(connection, function, *arguments, **options):
            self.count += 1
            return await original(connection, function, *arguments, **options)

        monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)


@pytest.fixture
async def things(sqlite_db: Database) -> Database:
    await sqlite_db.create_tables(metadata)
    return sqlite_db


async def test_rows_counts_and_numbers_are_all_there(things: Database) -> None:
    async with things.transaction() as tx:
        assert (await tx.execute(insert(THINGS).values(name="a"))).inserted_primary_key == (1,)
        assert list(
            (
                await tx.execute(
                    insert(THINGS).returning(THINGS.c.id), [{"name": "b"}, {"name": "c"}]
                )
            ).scalars()
        ) == [2, 3]
        assert (
            await tx.execute(update(THINGS).where(THINGS.c.id > 1).values(name=THINGS.c.name + "!"))
        ).rowcount == 2
        assert (await tx.execute(select(THINGS).where(THINGS.c.id == 9))).first() is None
        assert [row.name for row in await tx.execute(select(THINGS).order_by(THINGS.c.id))] == [
            "a",
            "b!",
            "c!",
        ]


async def test_a_small_transaction_visits_the_thread_four_times(
    things: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits(monkeypatch)
    async with things.transaction() as tx:
        await tx.execute(insert(THINGS), [{"name": "a"}, {"name": "b"}])
        await tx.execute(update(THINGS).values(name=THINGS.c.name + "!"))
    assert visits.count == 4  # BEGIN, two statements, COMMIT


async def test_what_failed_or_was_given_up_leaves_the_connection_clean(things: Database) -> None:
    for error in (IntegrityError, RuntimeError):
        with pytest.raises(error):
            async with things.transaction() as tx:
                await tx.execute(insert(THINGS).values(name="a"))
                if error is RuntimeError:
                    raise RuntimeError
                await tx.execute(insert(THINGS).values(name="a"))
    # past our own context managers, and not committed
    async with things.engine.connect() as connection:
        await connection.execute(insert(THINGS).values(name="a"))
    async with things.read() as connection:
        assert (await connection.execute(select(THINGS))).all() == []
    async with things.transaction() as tx:
        await tx.execute(text("insert into things (name) values ('a')"))


async def test_a_connection_returned_in_the_middle_of_a_transaction_is_rolled_back(
    things: Database,
) -> None:
    async with things.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        await raw.driver_connection.execute("BEGIN IMMEDIATE")
    async with things.transaction() as tx:
        await tx.execute(insert(THINGS).values(name="a"))

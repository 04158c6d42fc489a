"""Many rows in one go are the rows that SQLAlchemy would have written one by one, on SQLite and on
Postgres.
"""

from __future__ import annotations

import pytest
from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
    select,
)
from sqlalchemy.exc import DBAPIError

from shared.clock import now
from shared.storage.bulk import insert_many, stored, update_many
from shared.storage.db import Database

metadata = MetaData()
THINGS = Table(
    "things",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", LargeBinary(16), unique=True),
    Column("name", String(8)),
    Column("at", DateTime(timezone=True)),
)


@pytest.fixture
async def things(db: Database) -> Database:
    await db.create_tables(metadata)
    return db


async def everything(db: Database) -> list[tuple]:
    async with db.read() as connection:
        return [
            tuple(row) for row in await connection.execute(select(THINGS).order_by(THINGS.c.id))
        ]


async def test_values_come_back_as_they_would_from_sqlalchemy(things: Database) -> None:
    at = now()
    async with things.transaction() as tx:
        await tx.execute(insert(THINGS), [{"id": 1, "key": b"\x00a", "name": "ä", "at": at}])
        count = await insert_many(
            tx,
            THINGS,
            ("id", "key", "name", "at"),
            [(2, b"\x00b", None, stored(THINGS.c.at, at, tx.dialect))],
        )
    one, two = await everything(things)
    assert count == 1
    assert (one[1:3], two[1:3]) == ((b"\x00a", "ä"), (b"\x00b", None))
    assert one[3] == two[3]


async def test_rows_without_a_number_get_theirs_in_order(things: Database) -> None:
    async with things.transaction() as tx:
        assert (
            await insert_many(tx, THINGS, ("name",), [(f"n{number}",) for number in range(1000)])
            == 1000
        )
    assert [row[2] for row in await everything(things)] == [f"n{number}" for number in range(1000)]


async def test_known_rows_are_left_out_and_counted(things: Database) -> None:
    async with things.transaction() as tx:
        await insert_many(tx, THINGS, ("key", "name"), [(b"a", "first")])
        assert (
            await insert_many(
                tx, THINGS, ("key", "name"), [(b"a", "again"), (b"b", "new")], unless_known=True
            )
            == 1
        )
        assert await insert_many(tx, THINGS, ("key", "name"), []) == 0
    assert [row[2] for row in await everything(things)] == ["first", "new"]


async def test_what_is_too_long_for_postgres_is_refused_and_not_cut(things: Database) -> None:
    if things.is_sqlite:
        pytest.skip("SQLite has no lengths")
    with pytest.raises(DBAPIError):
        async with things.transaction() as tx:
            await insert_many(tx, THINGS, ("name",), [("123456789",)])


async def test_each_row_is_updated_with_its_own_values(things: Database) -> None:
    async with things.transaction() as tx:
        await insert_many(tx, THINGS, ("id", "name"), [(number, "old") for number in range(4)])
        await update_many(tx, THINGS, ("name",), "id", [("one", 1), ("three", 3)])
    assert [row[2] for row in await everything(things)] == ["old", "one", "old", "three"]

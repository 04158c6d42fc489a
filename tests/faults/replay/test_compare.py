"""What is compared, by value, and which tables are not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
)

from schemas.base import uuid7
from schemas.topics import SERVICES
from shared.storage.db import Database
from tests.faults.replay.compare import compare
from tests.faults.replay.derived import REBUILDS, Derived, tables_of
from tests.faults.replay.rebuild import build

TABLE = Derived("things", ("id",), ("value",))


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_of_a_service_is_proven_or_says_why_not(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/x.db")
    monkeypatch.setenv("TRAINER_BASE_MODEL", "none")
    made = build(service).metadata.tables
    assert tables_of(service).keys() == made.keys()
    for derived in REBUILDS[service].derived:
        assert {*derived.key, *derived.columns} <= set(made[derived.table].columns.keys())


async def test_two_databases_are_compared_by_value_and_rows_are_named_not_shown(
    tmp_path: Path,
) -> None:
    live = await things(tmp_path / "a.db", {"1": "x", "2": "secret", "3": "x"})
    scratch = await things(tmp_path / "b.db", {"1": "x", "2": "y", "4": "x"})
    found = await compare(live, scratch, TABLE)
    assert (found.equal, found.differ, found.only_live, found.only_rebuilt) == (
        1,
        ["2"],
        ["3"],
        ["4"],
    )
    assert "secret" not in json.dumps(found.as_json())
    assert (await compare(live, live, TABLE)).same
    settled = await compare(
        live, scratch, Derived("things", ("id",), ("value",), settled="id <> '1'")
    )
    assert (settled.differ, settled.only_live, settled.only_rebuilt) == ([], [], ["4"])
    for db in (live, scratch):
        await db.close()


async def test_postgres_and_sqlite_say_the_same_of_the_same_values(
    db: Database, tmp_path: Path
) -> None:
    """The live database may be either; the rebuilt one is SQLite."""
    metadata = MetaData()
    table = Table(
        "kinds",
        metadata,
        Column("id", String, primary_key=True),
        Column("flag", Boolean),
        Column("at", DateTime(timezone=True)),
        Column("number", Float(53)),
        Column("whole", BigInteger),
        Column("body", LargeBinary),
        Column("facts", JSON),
    )
    scratch = Database(f"sqlite+aiosqlite:///{tmp_path}/scratch.db")
    at = datetime(2026, 11, 25, 3, tzinfo=UTC)
    for each in (db, scratch):
        await each.create_tables(metadata)
        async with each.transaction() as tx:
            await tx.execute(
                insert(table).values(
                    id="1",
                    flag=True,
                    at=at,
                    number=0.1,
                    whole=2**40,
                    body=b"\0x",
                    facts={"b": 1, "a": [None]},
                )
            )
            await tx.execute(insert(table).values(id="2"))
    found = await compare(
        db, scratch, Derived("kinds", ("id",), ("flag", "at", "number", "whole", "body", "facts"))
    )
    assert (found.same, found.equal) == (True, 2)
    await scratch.close()


async def test_only_rows_that_are_old_enough_may_have_been_forgotten(tmp_path: Path) -> None:
    young = uuid7()
    live = await things(tmp_path / "a.db", {})
    scratch = await things(tmp_path / "b.db", {young: "x", "of no age": "x"})
    found = await compare(
        live,
        scratch,
        Derived("things", ("id",), ("value",), forgets="old ones", forgets_after=timedelta(days=1)),
    )
    assert (found.only_rebuilt, found.forgotten) == ([young], 1)
    for db in (live, scratch):
        await db.close()


async def things(path: Path, rows: dict[str, str]) -> Database:
    db = Database(f"sqlite+aiosqlite:///{path}")
    async with db.transaction() as tx:
        await tx.exec_driver_sql("create table things (id text primary key, value text)")
        for key, value in rows.items():
            await tx.exec_driver_sql("insert into things values (?, ?)", (key, value))
    return db

"""Several at once, killed in the middle, and among those who still use the tables."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from infra.migrations import migrations_of
from shared.storage.db import Database
from tests.migrations.databases import RELEASED, fill, rows, tables_at
from tests.postgres import PostgresServer

SERVICE = "trainer"
FORK = multiprocessing.get_context("fork")


def start(url: str, on_statement: Callable[[str], None]) -> Any:
    """A process that upgrades as a service does when it starts."""
    process = FORK.Process(target=_upgrade, args=(url, on_statement))
    process.start()
    return process


def _upgrade(url: str, on_statement: Callable[[str], None]) -> None:
    async def upgrade() -> None:
        db = Database(url)
        event.listen(
            db.engine.sync_engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: on_statement(statement),
        )
        await migrations_of(SERVICE).upgrade(db)
        await db.close()

    asyncio.run(upgrade())
    os._exit(0)


def kill_at(number: int) -> Callable[[str], None]:
    seen = iter(range(1, number + 1))

    def reached(_: str) -> None:
        if next(seen, None) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


async def made_by_the_last_release(url: str) -> dict[str, list[str]]:
    db = Database(url)
    before = await tables_at(SERVICE, db, RELEASED)
    async with db.transaction() as tx:
        await tx.run_sync(fill, before)
        await tx.execute(sa.text("drop table alembic_version"))
        kept = await tx.run_sync(rows, before)
    await db.close()
    return kept


async def look(url: str) -> tuple[str | None, dict[str, list[str]]]:
    """Its revision, and its rows as the last release reads them."""
    db = Database(url)
    scratch = Database("sqlite+aiosqlite://")
    before = await tables_at(SERVICE, scratch, RELEASED)
    async with db.read() as connection:
        there = sa.MetaData()
        await connection.run_sync(there.reflect)
        known = sa.MetaData()
        for name, table in before.tables.items():
            sa.Table(
                name,
                known,
                *(
                    sa.Column(column.name, there.tables[name].c[column.name].type)
                    for column in table.columns
                ),
            )
        kept = await connection.run_sync(rows, known)
    found = await migrations_of(SERVICE).revision(db)
    await db.close()
    await scratch.close()
    return found, kept


@pytest.mark.faults
def test_killed_at_any_statement_it_is_done_at_the_next_start(database_url: str) -> None:
    """All or nothing: after each kill the database is what it was."""
    expected = asyncio.run(made_by_the_last_release(database_url))
    for statement in range(1, 1000, 1 if "sqlite" in database_url else 4):
        process = start(database_url, kill_at(statement))
        process.join(60)
        revision, kept = asyncio.run(look(database_url))
        assert kept == expected, statement
        if process.exitcode == 0:
            break
        assert (process.exitcode, revision) == (-signal.SIGKILL, None), statement
    assert revision == migrations_of(SERVICE).head
    assert statement > 20, "the kills must fall between the steps"


def together(number: int) -> Callable[[str], None]:
    """Nobody goes on before all are about to ask for the revision; then each takes its time."""
    barrier = FORK.Barrier(number)
    asked = []

    def reached(statement: str) -> None:
        if "version_num" in statement and not asked:
            asked.append(statement)
            barrier.wait(60)
        time.sleep(0.005)

    return reached


def at_once(url: str, number: int = 4) -> list[int]:
    """Exit codes of replicas that start together."""
    wait = together(number)
    replicas = [start(url, wait) for _ in range(number)]
    for replica in replicas:
        replica.join(120)
    return [replica.exitcode for replica in replicas]


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "last-release"])
def test_replicas_that_start_at_once_migrate_once(database_url: str, empty: bool) -> None:
    expected = None if empty else asyncio.run(made_by_the_last_release(database_url))
    assert at_once(database_url) == [0, 0, 0, 0]
    revision, kept = asyncio.run(look(database_url))
    assert revision == migrations_of(SERVICE).head
    assert expected in (None, kept)


def test_without_the_lock_they_get_in_each_others_way(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr("shared.storage.postgres.func", NoLock())
    assert any(at_once(postgres_server.new_database()))


class NoLock:
    def pg_advisory_xact_lock(self, _: int) -> Any:
        return sa.literal(1)

    def set_config(self, *arguments: Any) -> Any:
        return sa.func.set_config(*arguments)


async def test_who_uses_a_table_is_waited_for_and_holds_up_nobody_else(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Postgres a waiting ALTER would close the table to all who come later: it gives way and
    tries again.
    """
    monkeypatch.setattr("shared.storage.postgres.TABLE_LOCK_WAIT", "200ms")
    before = await tables_at(SERVICE, db, RELEASED)
    other = Database(str(db.engine.url))
    later = Database(str(db.engine.url))
    async with other.transaction() as tx:
        await tx.run_sync(fill, before)
        upgrading = asyncio.create_task(migrations_of(SERVICE).upgrade(db))
        await asyncio.sleep(0.5)
        if not db.is_sqlite:
            async with asyncio.timeout(5), later.read() as connection:
                assert (
                    await connection.execute(sa.text("select count(*) from inbox"))
                ).scalar() == 0
        assert not upgrading.done()
    await asyncio.wait_for(upgrading, 30)
    assert await migrations_of(SERVICE).revision(db) == migrations_of(SERVICE).head
    for database in (other, later):
        await database.close()

"""Old rows go a few at a time: others write meanwhile, and what changed meanwhile stays."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from shared.storage import chunks
from shared.storage.chunks import delete_in_chunks
from shared.storage.db import Database
from tests.plans import plan_of

ROWS = 6_000
metadata = MetaData()
# A key of two columns, as the inbox has, and one of one column, as the outbox.
PAIRS = Table(
    "pairs",
    metadata,
    Column("topic", String(32), primary_key=True),
    Column("event_id", String(32), primary_key=True),
    Column("outcome", String(16), nullable=False),
    Column("at", Float, nullable=False),
    Index("pairs_age", "outcome", "at"),
)
MARKS = Table("marks", metadata, Column("n", Integer, primary_key=True))
OLD = (PAIRS.c.outcome == "handled") & (PAIRS.c.at < ROWS - 1000)


@pytest.fixture
async def full(db: Database) -> Database:
    """A table with many rows; every hundredth one is of a kind that stays."""
    await db.create_tables(metadata)
    rows = [
        {
            "topic": f"topic-{n % 3}",
            "event_id": f"event-{n}",
            "outcome": "handled" if n % 100 else "dropped",
            # ten rows share each moment
            "at": float(n // 10 * 10),
        }
        for n in range(ROWS)
    ]
    async with db.transaction() as tx:
        await tx.execute(insert(PAIRS), rows)
    if not db.is_sqlite:
        async with db.transaction() as tx:
            await tx.execute(text("analyze pairs"))
    return db


async def test_all_that_is_chosen_goes_and_nothing_else(full: Database) -> None:
    deleted = await delete_in_chunks(full, PAIRS, OLD, PAIRS.c.at)
    async with full.read() as connection:
        left = select(PAIRS.c.outcome, func.count().label("n")).group_by(PAIRS.c.outcome)
        counts = {row.outcome: row.n for row in await connection.execute(left)}
    assert deleted == (ROWS - 1000) // 100 * 99
    assert counts == {"handled": 990, "dropped": ROWS // 100}
    assert await delete_in_chunks(full, PAIRS, OLD, PAIRS.c.at) == 0


async def test_more_rows_of_one_moment_than_a_chunk_holds(full: Database) -> None:
    async with full.transaction() as tx:
        await tx.execute(update(PAIRS).values(at=7.0))
    assert await delete_in_chunks(full, PAIRS, OLD, PAIRS.c.at) == ROWS // 100 * 99


async def writes_during(db: Database, deleting: asyncio.Task[object]) -> int:
    """Return how many others could write while something was deleted."""
    n = 0
    while not deleting.done():
        async with db.transaction() as tx:
            await tx.execute(insert(MARKS).values(n=n))
        n += 1
        await asyncio.sleep(0.001)
    return n


async def test_a_writer_gets_through_and_in_one_statement_it_does_not(full: Database) -> None:
    if not full.is_sqlite:
        pytest.skip("on Postgres a delete locks only its own rows")
    task = asyncio.create_task(delete_in_chunks(full, PAIRS, OLD, PAIRS.c.at))
    assert await writes_during(full, task) > 20
    async with full.transaction() as tx:
        await tx.execute(delete(MARKS))
        rows = [
            {"topic": "again", "event_id": f"{n}", "outcome": "handled", "at": float(n % 10)}
            for n in range(3 * ROWS)
        ]
        await tx.execute(insert(PAIRS), rows)

    async def at_once() -> None:
        async with full.transaction() as tx:
            await tx.execute(delete(PAIRS).where(OLD))

    assert await writes_during(full, asyncio.create_task(at_once())) <= 3


async def test_it_rests_for_most_of_the_time(
    full: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested = 0.0
    sleep = asyncio.sleep

    async def count(seconds: float) -> None:
        nonlocal rested
        rested += seconds
        await sleep(seconds)

    monkeypatch.setattr(chunks.asyncio, "sleep", count)
    began = time.perf_counter()
    await delete_in_chunks(full, PAIRS, OLD, PAIRS.c.at)
    assert rested > 0.5 * (time.perf_counter() - began)


async def test_a_row_that_changed_after_it_was_chosen_stays(full: Database) -> None:
    if full.is_sqlite:
        pytest.skip("SQLite has one writer: nothing changes within a transaction")
    changing = full.transaction()
    tx = await changing.__aenter__()
    await tx.execute(update(PAIRS).where(PAIRS.c.event_id == "event-1").values(outcome="open"))
    task = asyncio.create_task(delete_in_chunks(full, PAIRS, OLD, PAIRS.c.at))
    await asyncio.sleep(0.3)
    await changing.__aexit__(None, None, None)
    await task
    async with full.read() as connection:
        kept = select(PAIRS.c.outcome).where(PAIRS.c.event_id == "event-1")
        assert (await connection.execute(kept)).scalar_one() == "open"


async def test_each_chunk_is_found_by_an_index(full: Database) -> None:
    left = OLD & (PAIRS.c.at >= 1500.0)
    statement = full.dialect.delete_first(PAIRS, left, PAIRS.c.at, 500)
    plan = await plan_of(full, statement)
    assert "SCAN pairs" not in plan, plan
    assert "Seq Scan" not in plan, plan
    assert "pairs_age (outcome=? AND at>? AND at<?)" in plan or "Tid Scan" in plan, plan

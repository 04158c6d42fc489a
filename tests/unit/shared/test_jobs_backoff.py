"""A job whose tools are away waits with growing pauses, says why, and is not given up."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import MetaData, update

from shared.errors import Retryable
from shared.jobs.worker import MAX_ATTEMPTS, Job, JobStore, run_leased
from shared.storage.db import Database


@pytest.fixture
async def store(db: Database) -> JobStore:
    metadata = MetaData()
    store = JobStore(db, metadata)
    await db.create_tables(metadata)
    async with db.transaction() as tx:
        await store.add(tx, "evaluate", "one", {})
    return store


async def engine_away(job: Job) -> None:
    raise Retryable("the engine is away")


async def broken(job: Job) -> None:
    raise ValueError("broken")


async def test_it_backs_off_and_keeps_the_reason(store: JobStore) -> None:
    job = await store.claim("evaluate")
    await run_leased(store, job, engine_away)
    assert await store.claim("evaluate") is None  # one second must pass
    kept = (await store.all())[0]
    assert (kept.state, kept.error) == ("queued", "the engine is away")
    await asyncio.sleep(1.1)
    assert (await store.claim("evaluate")).attempt == 2


async def test_waiting_is_not_failing(store: JobStore, db: Database) -> None:
    for _ in range(MAX_ATTEMPTS + 2):
        async with db.transaction() as tx:
            await tx.execute(update(store.table).values(lease_until=0.0))
        await run_leased(store, await store.claim("evaluate"), engine_away)
    assert (await store.all())[0].state == "queued"


async def test_other_failures_are_retried_at_once_and_given_up_after_a_few(store: JobStore) -> None:
    for _ in range(MAX_ATTEMPTS):
        await run_leased(store, await store.claim("evaluate"), broken)
    assert (await store.all())[0].state == "failed"

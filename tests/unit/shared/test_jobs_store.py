"""Who may work on a job and who may not, on SQLite and on Postgres: leases, tokens, attempts,
cancel, retry.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import MetaData, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import Retryable
from shared.jobs import worker
from shared.jobs.worker import MAX_ATTEMPTS, Job, JobStore, LeaseLost, run_leased, work, work_once
from shared.storage.db import Database, DatabaseUnavailable

KIND = "train"
PAYLOAD = {"route": "acme/support"}


@pytest.fixture
async def store(db: Database) -> JobStore:
    metadata = MetaData()
    store = JobStore(db, metadata, lease_seconds=1.0)
    await db.create_tables(metadata)
    await queue(store, "one")
    return store


async def queue(store: JobStore, key: str) -> None:
    async with store.db.transaction() as tx:
        assert await store.add(tx, KIND, key, PAYLOAD)


async def claimed(store: JobStore) -> Job:
    job = await store.claim(KIND)
    assert job
    return job


async def expire(store: JobStore) -> None:
    """As if its worker had been silent for longer than the lease."""
    async with store.db.transaction() as tx:
        await tx.execute(
            update(store.table).where(store.table.c.state == "running").values(lease_until=0.0)
        )


async def finish(store: JobStore, job: Job) -> None:
    async with store.db.transaction() as tx:
        await store.finish(tx, job, {"by": job.token})


async def fail(store: JobStore, job: Job, **how) -> None:
    async with store.db.transaction() as tx:
        await store.fail(tx, job, "broken", **({"retry": False} | how))


async def report(store: JobStore, job: Job) -> None:
    async with store.db.transaction() as tx:
        await store.report(tx, job, {"step": job.token})


async def outcomes(store: JobStore, job: Job) -> list[str]:
    return [entry["outcome"] for entry in await store.history(job.job_id)]


async def end_of(store: JobStore) -> Job:
    return (await store.all())[0]


async def test_a_stale_worker_can_do_nothing(store: JobStore) -> None:
    stale = await claimed(store)
    await expire(store)
    current = await claimed(store)
    for act in (finish, fail, report, JobStore.renew, JobStore.release):
        with pytest.raises(LeaseLost):
            await act(store, stale)
    await report(store, current)
    await finish(store, current)
    job = await end_of(store)
    assert (job.state, job.result, job.progress) == ("finished", {"by": 2}, {"step": 2})
    assert await outcomes(store, job) == ["died", "finished"]


async def test_without_the_token_a_stale_worker_would_win(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unfenced(self: JobStore, tx: AsyncConnection, job: Job, values: dict) -> None:
        await tx.execute(
            update(self.table).where(self.table.c.job_id == job.job_id).values(**values)
        )

    stale = await claimed(store)
    await expire(store)
    await claimed(store)
    monkeypatch.setattr(JobStore, "_fenced", unfenced)
    await finish(store, stale)
    assert (await end_of(store)).result == {"by": 1}


async def test_stopped_within_its_transaction_a_worker_does_not_keep_the_job(
    store: JobStore, database_url: str
) -> None:
    if store.db.is_sqlite:
        pytest.skip(
            "SQLite has one writer: whoever is stopped within a transaction holds up all others"
        )
    job = await claimed(store)
    with pytest.raises(DatabaseUnavailable):
        async with store.db.transaction() as tx:
            await store.finish(tx, job, {"by": job.token})
            assert (
                await asyncio.to_thread(asyncio.run, tries_for(10.0, store, database_url))
                == job.job_id
            )
    assert (await end_of(store)).state == "running"


async def test_two_workers_race_and_one_gets_it(store: JobStore, database_url: str) -> None:
    for round_ in range(5):
        others = [store.through(Database(database_url)) for _ in range(4)]
        got = [job for job in await asyncio.gather(*(other.claim(KIND) for other in others)) if job]
        assert len(got) == 1, f"round {round_}: {got}"
        await finish(store, got[0])
        await queue(store, f"round {round_}")
        for other in others:
            await other.db.close()


async def test_the_oldest_goes_first_whatever_the_clock_of_the_process_says(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.jobs.store.now", lambda: datetime.now(UTC) - timedelta(hours=1))
    monkeypatch.setattr("schemas.base.time.time_ns", lambda: 0, raising=False)
    await queue(store, "two")
    assert (await claimed(store)).key == "one"


@pytest.mark.parametrize("shift", [3600.0, -3600.0])
async def test_a_wrong_clock_of_the_process_changes_no_lease(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    real_time = time.time
    real_monotonic = time.monotonic
    job = await claimed(store)
    monkeypatch.setattr(time, "time", lambda: real_time() + shift)
    monkeypatch.setattr(
        "shared.jobs.store.now", lambda: datetime.now(UTC) + timedelta(seconds=shift)
    )
    assert await store.claim(KIND) is None  # the lease holds
    assert await store.renew(job)
    began = real_monotonic()
    while not await store.claim(KIND):
        await asyncio.sleep(0.05)
    assert 0.5 < real_monotonic() - began < 30.0  # and ends after its second


async def test_a_heartbeat_keeps_the_lease_while_the_loop_is_busy(store: JobStore) -> None:
    async def blocks_the_loop(job: Job) -> None:
        time.sleep(2.5)
        await finish(store, job)

    await run_leased(store, await claimed(store), blocks_the_loop)
    assert (await end_of(store)).state == "finished"


async def test_no_other_worker_gets_a_job_whose_loop_is_busy(
    store: JobStore, database_url: str
) -> None:
    """The negative control: without the thread the lease is gone after a second."""
    job = await claimed(store)
    seen = []

    async def blocks_the_loop(job: Job) -> None:
        seen.append(await asyncio.to_thread(asyncio.run, tries_for(2.5, store, database_url)))
        await asyncio.sleep(0)

    async def finishes(job: Job) -> None:
        await blocks_the_loop(job)
        await finish(store, job)

    await run_leased(store, job, finishes)
    assert seen == [None]
    await queue(store, "two")
    assert await claimed(store)
    assert await asyncio.to_thread(asyncio.run, tries_for(2.5, store, database_url))


async def tries_for(seconds: float, store: JobStore, database_url: str) -> str | None:
    other = store.through(Database(database_url))
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            if job := await other.claim(KIND):
                return job.job_id
            await asyncio.sleep(0.1)
    finally:
        await other.db.close()
    return None


async def test_a_lost_lease_stops_the_work_and_is_quiet(store: JobStore) -> None:
    stopped = asyncio.Event()

    async def runs_for_ever(job: Job) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.set()
            raise

    working = asyncio.create_task(work_once(store, KIND, runs_for_ever))
    await until(lambda: running(store))
    async with store.db.transaction() as tx:
        await tx.execute(update(store.table).values(token=99))
    assert await asyncio.wait_for(working, 30)
    assert stopped.is_set() and (await end_of(store)).token == 99


async def test_cancelled_while_it_runs_it_stops_and_publishes_nothing(store: JobStore) -> None:
    published = []

    async def publishes_after_all(job: Job) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            with pytest.raises(LeaseLost):
                await finish(store, job)
            published.append("nothing")

    working = asyncio.create_task(work_once(store, KIND, publishes_after_all))
    job = await until(lambda: running(store))
    async with store.db.transaction() as tx:
        assert await store.cancel(tx, job.job_id, "cancelled by ada: wrong recipe")
    began = time.monotonic()
    await asyncio.wait_for(working, 30)
    assert time.monotonic() - began < 30 and published == ["nothing"]
    job = await end_of(store)
    assert (job.state, job.error) == ("cancelled", "cancelled by ada: wrong recipe")
    assert await outcomes(store, job) == ["cancelled"]
    assert await store.claim(KIND) is None


async def test_a_cancelled_job_can_be_retried_and_its_past_is_kept(store: JobStore) -> None:
    job = await claimed(store)
    async with store.db.transaction() as tx:
        assert await store.requeue(tx, job.job_id, "too early") is None
        await store.cancel(tx, job.job_id, "by ada")
        assert await store.cancel(tx, job.job_id, "again") is None
        assert await store.requeue(tx, job.job_id, "by ada: the recipe is right now")
    again = await claimed(store)
    assert (again.attempt, again.life, again.token > job.token) == (1, 1, True)
    assert await store.finished_runs({job.run_name, again.run_name, "unknown.0"}) == {
        job.run_name,
        "unknown.0",
    }
    await finish(store, again)
    assert await outcomes(store, job) == ["cancelled", "retried", "finished"]


async def test_a_job_that_kills_its_workers_is_given_up(store: JobStore) -> None:
    told = []

    async def on_failure(tx: AsyncConnection, job: Job, reason: str, will_retry: bool) -> None:
        told.append((reason, will_retry))

    for _ in range(MAX_ATTEMPTS):
        assert await store.claim(KIND, on_failure)
        await expire(store)
    assert await store.claim(KIND, on_failure) is None
    job = await end_of(store)
    assert job.state == "failed" and f"its worker died {MAX_ATTEMPTS} times" in job.error
    assert told == [(job.error, False)]
    assert await outcomes(store, job) == ["died"] * MAX_ATTEMPTS


async def test_deaths_and_failures_are_counted_together_waiting_is_not(store: JobStore) -> None:
    async def away(job: Job) -> None:
        raise Retryable("the engine is away")

    async def broken(job: Job) -> None:
        raise ValueError("broken")

    for run in (away, away, broken, away, broken):
        async with store.db.transaction() as tx:
            await tx.execute(update(store.table).values(lease_until=0.0))
        await run_leased(store, await claimed(store), run)
    async with store.db.transaction() as tx:
        await tx.execute(update(store.table).values(lease_until=0.0))
    await claimed(store)
    await expire(store)
    last = await claimed(store)
    assert last.strikes == MAX_ATTEMPTS - 1
    await run_leased(store, last, broken)
    job = await end_of(store)
    assert job.state == "failed"
    assert await outcomes(store, job) == [
        "waits",
        "waits",
        "failed",
        "waits",
        "failed",
        "died",
        "failed",
    ]


async def test_a_worker_told_to_stop_gives_its_job_back_unharmed(store: JobStore) -> None:
    async def runs_for_ever(job: Job) -> None:
        await asyncio.sleep(60)

    working = asyncio.create_task(work(store, KIND, runs_for_ever))
    await until(lambda: running(store))
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    job = await claimed(store)  # at once, without waiting for the lease to end
    assert (job.attempt, job.strikes) == (2, 0)
    assert await outcomes(store, job) == ["stopped", "running"]


async def test_a_finished_job_is_not_taken_for_a_lost_one(store: JobStore) -> None:
    tidied = []

    async def finishes_then_tidies(job: Job) -> None:
        await finish(store, job)
        await asyncio.sleep(1.0)  # five beats
        tidied.append(job.job_id)

    await run_leased(store, await claimed(store), finishes_then_tidies)
    assert tidied


async def test_a_worker_whose_loop_is_stuck_leaves_its_job_to_others(
    store: JobStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.jobs.heartbeat.STUCK_SECONDS", 1.0)
    found = []

    async def hangs(job: Job) -> None:
        rescue = asyncio.get_running_loop().run_in_executor(
            None, asyncio.run, tries_for(6.0, store, database_url)
        )
        time.sleep(4.5)
        found.append(await rescue)
        await finish(store, job)

    with pytest.raises(LeaseLost):
        await run_leased(store, job := await claimed(store), hangs)
    assert found == [job.job_id] and (await store.get(job.job_id)).token == 2


async def test_the_gauges_show_states_and_how_long_leases_are_silent(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WATCH_SECONDS", 0.05)
    job = await claimed(store)
    watching = asyncio.create_task(worker.watch(store))
    await asyncio.sleep(0.6)
    silent = worker.SILENCE.labels(KIND, job.job_id)._value.get()
    assert 0.2 < silent < 5 and worker.JOBS.labels(KIND, "running")._value.get() == 1
    await finish(store, job)
    await asyncio.sleep(0.3)
    watching.cancel()
    # Its connection must be back before the database is closed.
    await asyncio.gather(watching, return_exceptions=True)
    assert (KIND, job.job_id) not in worker.SILENCE._metrics and (
        KIND,
        "running",
    ) not in worker.JOBS._metrics


async def running(store: JobStore) -> Job | None:
    return next(iter(await store.running()), None)


async def until(condition):
    async with asyncio.timeout(10):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found

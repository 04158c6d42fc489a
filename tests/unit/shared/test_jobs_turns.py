"""Tenants take turns, and no job runs for ever: on SQLite and on Postgres."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter

import pytest
from sqlalchemy import MetaData, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.jobs.limits import Limit, TurnOver
from shared.jobs.store import JobStore
from shared.jobs.turns import Turns
from shared.jobs.worker import Job, run_leased, work, work_once
from shared.storage.db import Database
from tests.plans import plan_of

KIND = "train"
SECOND = Limit(1.0 / 3600.0, "TRAINER_JOB_HOURS")


@pytest.fixture
async def store(db: Database) -> JobStore:
    metadata = MetaData()
    store = JobStore(db, metadata, lease_seconds=1.0)
    await db.create_tables(metadata)
    return store


async def queue(store: JobStore, tenant: str, count: int = 1) -> None:
    async with store.db.transaction() as tx:
        for number in range(count):
            key = f"{tenant} {number} {time.monotonic()}"
            assert await store.add(tx, KIND, key, {"route": f"{tenant}/support"})


async def end(store: JobStore, job: Job) -> None:
    async with store.db.transaction() as tx:
        await store.finish(tx, job, {})


async def served(store: JobStore, count: int) -> list[str]:
    """Run so many jobs, one after the other; return whose they were."""
    tenants = []
    for _ in range(count):
        job = await store.claim(KIND)
        assert job
        tenants.append(job.tenant)
        await end(store, job)
    return tenants


async def test_a_flood_of_one_tenant_holds_up_nobody(store: JobStore) -> None:
    await queue(store, "acme", 100)
    running = await store.claim(KIND)
    await queue(store, "globex")
    await queue(store, "initech", 2)
    await end(store, running)
    assert await served(store, 6) == ["globex", "initech", "acme", "initech", "acme", "acme"]


async def test_without_turns_it_would_wait_for_all_of_them(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def oldest_of_all(self: Turns, tx: AsyncConnection, kind: str):
        table = self.jobs
        first = table.select().where(self._free(kind)).order_by(table.c.queued_at).limit(1)
        return (await tx.execute(first)).first()

    monkeypatch.setattr(Turns, "next", oldest_of_all)
    await queue(store, "acme", 20)
    await queue(store, "globex")
    assert "globex" not in await served(store, 20)


async def test_the_tenant_with_the_fewest_running_jobs_comes_first(store: JobStore) -> None:
    await queue(store, "acme", 3)
    held = [await store.claim(KIND), await store.claim(KIND)]
    await queue(store, "globex", 3)
    held += [await store.claim(KIND) for _ in range(3)]
    assert [job.tenant for job in held] == ["acme", "acme", "globex", "globex", "acme"]


async def test_within_a_tenant_the_oldest_comes_first(store: JobStore) -> None:
    for _ in range(5):
        await queue(store, "acme")
        # SQLite's clock counts milliseconds.
        await asyncio.sleep(0.01)
    keys = []
    while job := await store.claim(KIND):
        keys.append(job.key)
        await end(store, job)
    assert keys == sorted(keys, key=lambda key: float(key.split()[2])) and len(keys) == 5


async def test_workers_that_ask_at_once_serve_different_tenants(
    store: JobStore, database_url: str
) -> None:
    for tenant in ("acme", "globex", "initech"):
        await queue(store, tenant, 5)
    others = [store.through(Database(database_url)) for _ in range(3)]

    async def claim(other: JobStore) -> Job:
        # One may find nothing, while another looks at the same moment: it asks again.
        while not (job := await other.claim(KIND)):
            await asyncio.sleep(0.01)
        return job

    try:
        jobs = await asyncio.gather(*map(claim, others))
        assert sorted(job.tenant for job in jobs) == ["acme", "globex", "initech"]
    finally:
        for other in others:
            await other.db.close()


async def test_a_tenant_has_no_more_than_its_share_of_the_workers(
    db: Database, database_url: str
) -> None:
    metadata = MetaData()
    store = JobStore(db, metadata, per_tenant=2)
    await db.create_tables(metadata)
    await queue(store, "acme", 5)
    others = [store.through(Database(database_url)) for _ in range(4)]
    try:
        for _ in range(5):
            await asyncio.gather(*(other.claim(KIND) for other in others))
        assert Counter(job.state for job in await store.all()) == {"running": 2, "queued": 3}
        await queue(store, "globex")
        assert (await store.claim(KIND)).tenant == "globex"
        assert await store.claim(KIND) is None
    finally:
        for other in others:
            await other.db.close()


async def test_a_job_of_the_last_release_has_a_turn_too(store: JobStore) -> None:
    await queue(store, "acme", 2)
    async with store.db.transaction() as tx:
        await tx.execute(update(store.table).values(tenant=""))
    assert await served(store, 2) == ["", ""]


async def test_a_list_says_how_many_come_before(store: JobStore) -> None:
    await queue(store, "acme", 3)
    await queue(store, "globex")
    page = await store.page("acme", None, None, 10, 0)
    assert sorted(job.ahead for job in page) == [0, 1, 2]
    assert [job.ahead for job in await store.page("globex", None, None, 10, 0)] == [0]


async def heartbeats_for_ever(job: Job) -> None:
    while True:
        await asyncio.sleep(0.05)


async def test_a_job_that_goes_on_for_ever_fails_and_the_next_one_runs(store: JobStore) -> None:
    await queue(store, "acme")
    told: list[tuple[str, bool]] = []

    async def ended(tx: AsyncConnection, job: Job, reason: str, retry: bool) -> None:
        told.append((reason, retry))

    limit = Limit(2.5 / 3600.0, "TRAINER_JOB_HOURS")  # longer than a lease
    began = time.monotonic()
    assert await work_once(store, KIND, heartbeats_for_ever, ended, limit)
    assert 2.0 < time.monotonic() - began < 30.0
    (job,) = await store.all()
    assert job.state == "failed" and "TRAINER_JOB_HOURS" in job.error
    assert told == [(job.error, False)]
    assert not await work_once(store, KIND, heartbeats_for_ever, ended, limit)
    await queue(store, "globex")
    assert await served(store, 1) == ["globex"]


async def test_the_child_of_a_job_whose_time_is_up_is_ended(store: JobStore) -> None:
    await queue(store, "acme")
    children: list[int] = []

    async def with_child(job: Job) -> None:
        from shared.child import run_child

        async def hear(message: dict) -> None:
            children.append(message["pid"])

        code = "import os,time,sys;print('{\"pid\":%d}'%os.getpid(),flush=True);time.sleep(99)"
        await run_child([sys.executable, "-c", code], hear)

    await work_once(store, KIND, with_child, None, Limit(2.0 / 3600.0, "X"))
    (pid,) = children
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_time_of_all_attempts_counts_and_that_of_waiting_does_not(
    store: JobStore,
) -> None:
    await queue(store, "acme")
    seconds: list[float] = []

    async def dies(job: Job) -> None:
        seconds.append(job.spent)
        await asyncio.sleep(0.4)
        raise ValueError("broken")

    for _ in range(3):
        assert await work_once(store, KIND, dies, None, SECOND)
        await asyncio.sleep(0.5)
    assert seconds[0] == 0.0 and 0.35 < seconds[1] < 0.8 and 0.75 < seconds[2] < 1.3
    # It has failed by its time, not by the number of attempts.
    (job,) = await store.all()
    assert job.state == "failed" and "TRAINER_JOB_HOURS" in job.error
    # Another life has all of the time again.
    async with store.db.transaction() as tx:
        await store.requeue(tx, job.job_id, "asked for")
    assert (await store.claim(KIND)).spent == 0.0


async def test_a_worker_that_was_killed_counts_until_its_last_renewal(store: JobStore) -> None:
    """Nobody looked for an hour: that is no time that the job took."""
    await queue(store, "acme")
    job = await store.claim(KIND)
    hour = store.db.clock() - 3600.0
    async with store.db.transaction() as tx:
        await tx.execute(update(store.table).values(lease_until=0.0, renewed_at=hour + 7.0))
        await tx.execute(update(store.past).values(began_at=hour))
    again = await store.claim(KIND)
    assert (again.job_id, again.attempt) == (job.job_id, 2)
    assert again.spent == pytest.approx(7.0, abs=0.1)


@pytest.mark.faults
async def test_killed_in_between_the_total_still_holds(store: JobStore, database_url: str) -> None:
    """A worker process is killed with SIGKILL at each attempt; the job ends all the same."""
    await queue(store, "acme")
    code = (
        "import asyncio;from sqlalchemy import MetaData\n"
        "from shared.storage.db import Database;from shared.jobs.worker import *\n"
        "from shared.jobs.limits import Limit\n"
        "async def run(job):\n"
        "    print('runs',flush=True);await asyncio.sleep(60)\n"
        f"store=JobStore(Database({database_url!r}),MetaData(),lease_seconds=1.0)\n"
        "asyncio.run(work(store,'train',run,None,None,Limit(3.0/3600.0,'TRAINER_JOB_HOURS')))\n"
    )
    for _ in range(2):
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
        )
        assert await asyncio.wait_for(worker.stdout.readline(), 30) == b"runs\n"
        await asyncio.sleep(1.0)
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
    limit = Limit(3.0 / 3600.0, "TRAINER_JOB_HOURS")
    worker_task = asyncio.create_task(work(store, KIND, heartbeats_for_ever, None, None, limit))
    began = time.monotonic()
    while (await store.all())[0].state != "failed":
        assert time.monotonic() - began < 60.0
        await asyncio.sleep(0.1)
    worker_task.cancel()
    assert "TRAINER_JOB_HOURS" in (await store.all())[0].error


async def test_a_pause_gives_the_turn_away_and_counts_as_no_failure(store: JobStore) -> None:
    await queue(store, "acme")
    order: list[str] = []

    async def run(job: Job) -> None:
        order.append(job.tenant)
        if job.tenant == "acme" and await store.turns.anybody_waits(KIND, besides=job):
            raise TurnOver
        await end(store, job)

    job = await store.claim(KIND)
    await queue(store, "acme")  # of the same tenant: no reason to give way
    assert not await store.turns.anybody_waits(KIND, besides=job)
    await queue(store, "globex")
    await run_leased(store, job, run)
    while await work_once(store, KIND, run):
        pass
    assert order == ["acme", "globex", "acme", "acme"]
    paused = await store.get(job.job_id)
    assert (paused.state, paused.attempt, paused.strikes) == ("finished", 2, 0)
    assert [entry["outcome"] for entry in await store.history(job.job_id)] == ["paused", "finished"]


async def test_what_workers_ask_all_the_time_uses_an_index(store: JobStore) -> None:
    for statement in (store.turns.waiting(KIND), store.turns.oldest(KIND, "acme")):
        plan = await plan_of(store.db, statement)
        assert "ix_jobs_turn" in plan, plan
        assert "SCAN jobs" not in plan.replace("SCAN jobs USING", ""), plan
        assert "Seq Scan on jobs" not in plan, plan

"""A build whose worker is killed, stopped, or out of disk: one dataset, one event, nothing half.
Real processes.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.dataset_builder.ledger import BuildOutdated, BuildRunning
from services.dataset_builder.order import JOB
from services.dataset_builder.worker import Builder
from shared import failpoints
from shared.jobs.worker import Job, run_leased, work_once
from shared.storage.blobs import folder_digest
from tests import factories
from tests.unit.dataset_builder.build_process import LEASE, Orders, is_stopped, start, wake
from tests.unit.dataset_builder.rig import Rig, known_route, verdicts

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
FAULTS = pytest.mark.faults
# One of each in `make test`, all in `make test-faults`: each starts processes, and takes 3 s.
STEPS = [
    pytest.param(point, marks=[] if point == "job.before-finish" else FAULTS)
    for point in failpoints.POINTS
    if point.startswith(("job.", "blob."))
]


@pytest.fixture
async def rig(database_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(database_url, tmp_path).start()
    rig.jobs.lease_seconds = LEASE
    await rig.hear(known_route(), *verdicts(0, 30))
    yield rig
    failpoints.disarm()
    await rig.db.close()


@pytest.fixture
def orders(database_url: str, tmp_path: Path) -> Orders:
    return Orders(database_url, tmp_path)


async def ended(process, seconds: float = 40.0) -> int:
    await asyncio.to_thread(process.join, seconds)
    assert process.exitcode is not None, "it still runs"
    return process.exitcode


async def one_dataset(rig: Rig) -> None:
    [event] = await rig.announced()
    kept = rig.folder / "artifacts" / "datasets" / event.blob.sha256
    assert folder_digest(kept) == event.blob.sha256 and (kept / "_COMPLETE").exists()
    state = await rig.state()
    assert (state.built, state.building, state.dataset_id) == (1, 0, event.dataset_id)
    [job] = await rig.jobs.all()
    assert job.state == "finished" and job.result["dataset_id"] == event.dataset_id


async def history(rig: Rig) -> list[str]:
    return [entry["outcome"] for entry in await rig.jobs.history((await rig.jobs.all())[0].job_id)]


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_any_step_it_ends_in_one_dataset(
    rig: Rig, orders: Orders, step: str
) -> None:
    assert await ended(start(Orders(orders.database_url, orders.folder, step))) == -signal.SIGKILL
    assert await ended(start(orders)) == 0
    await one_dataset(rig)
    assert (await history(rig))[-1] == "finished"


@linux
@pytest.mark.parametrize(
    "step",
    [
        "job.before-finish",
        *(
            pytest.param(step, marks=FAULTS)
            for step in ("commit.before", "job.claimed", "blob.before-promote")
        ),
    ],
)
async def test_a_zombie_that_wakes_up_publishes_nothing(
    rig: Rig, orders: Orders, step: str
) -> None:
    if rig.db.is_sqlite and step in ("commit.before", "job.before-finish"):
        pytest.skip(
            "stopped within a transaction it holds SQLite's only write lock: nobody can take over"
            " until it goes on, or is killed"
        )
    zombie = start(Orders(orders.database_url, orders.folder, step, "stop"))
    await until_stopped(zombie)
    # another worker takes over after the lease, and finishes
    assert await ended(start(orders)) == 0
    await one_dataset(rig)
    before = await rig.contents(), visible(rig.folder / "artifacts")
    wake(zombie)
    assert await ended(zombie) == 0  # quietly
    await one_dataset(rig)
    assert (await rig.contents(), visible(rig.folder / "artifacts")) == before
    assert not list((rig.folder / "artifacts").rglob("*.partial")), "it left something half behind"
    # its claim was never committed
    assert await history(rig) == ["finished"] if step == "commit.before" else ["died", "finished"]


@linux
async def test_without_the_token_the_zombie_would_publish(rig: Rig, orders: Orders) -> None:
    """The negative control. Both build the same bytes; taking the first row away makes it as if
    they had come out differently.
    """
    zombie = start(
        Orders(orders.database_url, orders.folder, "blob.before-promote", "stop", fenced=False)
    )
    await until_stopped(zombie)
    assert await ended(start(orders)) == 0
    [job] = await rig.jobs.all()
    async with rig.db.transaction() as tx:
        await tx.execute(rig.tables.datasets.delete())
    wake(zombie)
    await ended(zombie)
    assert len(await rig.announced()) == 2
    assert (await rig.jobs.get(job.job_id)).token == 2


async def test_a_full_disk_is_waited_for(rig: Rig, orders: Orders) -> None:
    """Files may have 1,000 bytes: a Parquet file of the dataset is larger. Then there is room
    again.
    """
    if rig.db.is_sqlite:
        pytest.skip("the database of this process would be as full as its disk: see the next test")
    assert (
        await ended(start(Orders(orders.database_url, orders.folder, file_limit=1000, seconds=3.0)))
        == 0
    )
    await waits_for_the_disk(rig)
    assert await ended(start(orders)) == 0
    await one_dataset(rig)
    assert set(await history(rig)) == {"waits", "finished"}


@pytest.mark.parametrize("step", ["blob.half-written", "blob.before-promote"])
async def test_a_disk_that_fills_up_while_the_dataset_is_stored_leaves_no_half_of_it(
    rig: Rig, step: str
) -> None:
    failpoints.arm(step, "error")
    await rig.work()
    await waits_for_the_disk(rig)
    await asyncio.sleep(1.1)
    await rig.work()
    await one_dataset(rig)


async def waits_for_the_disk(rig: Rig) -> None:
    [job] = await rig.jobs.all()
    assert job.state == "queued" and job.strikes == 0 and job.error.startswith("disk: ")
    assert await rig.announced() == [] and (await rig.state()).building == 1
    assert not list((rig.folder / "artifacts").glob("datasets/*")), "something half is there"


async def test_a_cancelled_build_announces_nothing_and_frees_the_route(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    build = Builder.announce

    async def waits(*args) -> None:
        begun.set()
        await asyncio.sleep(30)
        await build(*args)

    monkeypatch.setattr(Builder, "announce", waits)
    working = asyncio.create_task(work_once(rig.jobs, JOB, rig.builder.run, rig.builder.gave_up))
    announcing = asyncio.create_task(begun.wait())
    # a build takes 0.3 s on an idle machine, 10 s on a busy one
    await asyncio.wait({announcing, working}, timeout=120, return_when=asyncio.FIRST_COMPLETED)
    assert begun.is_set(), [job.error for job in await rig.jobs.all()]
    await cancel(rig)
    # far less than the 30 s that the announcement would take
    await asyncio.wait_for(working, 20)
    assert await rig.announced() == [] and (await rig.state()).building == 0
    assert "by ada: wrong labels" in (await rig.state()).refusal
    monkeypatch.undo()
    await retry(rig)
    await rig.work()
    await one_dataset(rig)
    assert await history(rig) == ["cancelled", "retried", "finished"]


async def test_an_old_build_is_not_repeated_over_a_newer_one(rig: Rig) -> None:
    await cancel(rig)
    async with rig.db.transaction() as tx:
        await rig.ledger.command(tx, factories.ROUTE, "another one")
    with pytest.raises(BuildRunning):
        await retry(rig)
    await rig.work()
    with pytest.raises(BuildOutdated, match="ratchet datasets build acme/support-triage"):
        await retry(rig)
    assert [job.state for job in await rig.jobs.all()] == ["finished", "cancelled"]


async def test_a_build_that_kills_its_workers_ends_and_frees_the_route(rig: Rig) -> None:
    for _ in range(4):
        await rig.jobs.claim(JOB, rig.builder.gave_up)
        async with rig.db.transaction() as tx:
            await tx.execute(rig.jobs.table.update().values(lease_until=0.0))
    assert await rig.jobs.claim(JOB, rig.builder.gave_up) is None
    assert "its worker died 4 times" in json.loads((await rig.state()).refusal)["detail"]
    assert (await rig.state()).building == 0


async def test_a_worker_whose_token_is_stale_frees_no_route(rig: Rig) -> None:
    """It fails after its successor has begun: the route is still being built."""
    stale = await rig.jobs.claim(JOB)
    async with rig.db.transaction() as tx:
        await tx.execute(rig.jobs.table.update().values(lease_until=0.0))
    await rig.jobs.claim(JOB)

    async def breaks(job: Job) -> None:
        raise ValueError("broken")

    with pytest.raises(Exception, match="taken over"):
        await run_leased(rig.jobs, stale, breaks, rig.builder.gave_up)
    assert (await rig.state()).building == 1


async def cancel(rig: Rig) -> None:
    oldest = (await rig.jobs.all())[-1]
    async with rig.db.transaction() as tx:
        job = await rig.jobs.cancel(tx, oldest.job_id, "cancelled by ada: wrong labels")
        await rig.builder.gave_up(tx, job, "cancelled by ada: wrong labels", False)


async def retry(rig: Rig) -> None:
    oldest = (await rig.jobs.all())[-1]
    async with rig.db.transaction() as tx:
        assert await rig.jobs.requeue(tx, oldest.job_id, "by ada")
        await rig.builder.reopen(tx, oldest)


async def until_stopped(process) -> None:
    async with asyncio.timeout(30):
        while not is_stopped(process):
            await asyncio.sleep(0.02)


def visible(folder: Path) -> dict[str, bytes]:
    """What is stored, without what is being written."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in found.items()
        if not any(part.endswith(".partial") for part in name.parts)
    }

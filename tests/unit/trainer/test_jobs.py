"""A dataset becomes a job, the job an adapter: once, whoever dies on the way."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from schemas.events import AdapterTrained, DatasetBuilt
from services.trainer.order import JOB, TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Progress
from services.trainer.training import Reporter, forget_old
from shared.child import ChildDied, run_child
from shared.errors import JobFailed
from shared.jobs.limits import TurnOver
from shared.jobs.worker import MAX_ATTEMPTS, Job, LeaseLost, run_leased, work_once
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.trainer.worlds import (
    FACTS,
    Fake,
    dataset_event,
    raises,
    result_of,
    succeeds,
    trainer_service,
    write_adapter,
)

KILLED = raises(ChildDied(-9, "gone"))


class World:
    """A trainer with a fake executor, and one dataset it was told of."""

    def __init__(self, folder: Path, database_url: str, keys: dict[str, str]) -> None:
        self.folder = folder
        self.fake = Fake()
        self.service = trainer_service(folder, database_url, keys["file"], self.fake)
        self.jobs = self.service.parts.jobs
        self.training = self.service.parts.training

    async def told(self, event: DatasetBuilt) -> None:
        async with self.service.db.transaction() as tx:
            await self.training.on_dataset_built(tx, event)

    async def claimed(self) -> Job:
        job = await self.jobs.claim(JOB)
        assert job
        return job

    async def attempt(self, *behaviours) -> None:
        for behaviour in behaviours:
            self.fake.attempts.append(behaviour)
            await run_leased(
                self.jobs, await self.claimed(), self.training.run, self.training.failed
            )
            await self.training.tidy()

    async def published(self, kind: str) -> list[dict]:
        table = self.service.outbox.table
        async with self.service.db.read() as connection:
            rows = await connection.execute(
                select(table.c.payload).where(table.c.type == kind).order_by(table.c.seq)
            )
        return [json.loads(row.payload) for row in rows]


@pytest.fixture
async def world(tmp_path: Path, database_url: str, keys: dict[str, str]) -> AsyncIterator[World]:
    world = World(tmp_path, database_url, keys)
    await world.service.db.create_tables(world.service.metadata)
    yield world
    await world.service.db.close()


def save_checkpoint(
    checkpoints: Path, step: int, complete: bool = True, best: int | None = None
) -> Path:
    folder = checkpoints / "recipe" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    state = {
        "best_model_checkpoint": str(folder.with_name(f"checkpoint-{best or step}")),
        "global_step": step,
    }
    (folder / "trainer_state.json").write_text(json.dumps(state))
    if complete:
        (folder / "_COMPLETE").touch()
    return folder


def resumes_at(step: int):
    """Finds the checkpoint of that step in its own folder, and the best one named there too."""

    async def train(order: TrainingOrder, progress: Progress) -> TrainingResult:
        [found] = order.checkpoints.rglob("_COMPLETE")
        assert found.parent.name == f"checkpoint-{step}"
        assert json.loads((found.parent / "trainer_state.json").read_text())[
            "best_model_checkpoint"
        ] == str(found.parent)
        return await succeeds(order, progress)

    return train


async def test_a_dataset_becomes_one_adapter_under_its_digest(world: World, tmp_path: Path) -> None:
    event = dataset_event(tmp_path)
    await world.told(event)
    await world.told(event)  # delivered again
    await world.attempt(succeeds)
    assert await world.jobs.claim(JOB) is None
    [trained] = [
        AdapterTrained.model_validate(body) for body in await world.published("AdapterTrained")
    ]
    assert trained.adapter.adapter_id == f"acme--support-triage@{trained.adapter.blob.sha256[:12]}"
    assert (trained.dataset_id, trained.dataset, trained.run_id, trained.base_model) == (
        event.dataset_id,
        event.blob,
        "run-1",
        "org/some-model",
    )
    # verifies the digest
    stored = BlobStore(f"file://{tmp_path}/artifacts").get_folder(
        trained.adapter.blob, tmp_path / "copy"
    )
    assert (stored / "recipe.yaml").exists()
    assert [body["state"] for body in await world.published("TrainingProgressed")][-1] == "finished"
    assert not list((tmp_path / "work").iterdir())  # no copy of reviewed texts stays behind


async def test_a_killed_child_is_tried_again_and_finds_its_checkpoints(
    world: World, tmp_path: Path
) -> None:
    runs: list[str] = []

    async def learns_and_is_killed(order: TrainingOrder, progress: Progress) -> TrainingResult:
        save_checkpoint(order.checkpoints, 3)
        save_checkpoint(order.checkpoints, 6, complete=False)
        (order.checkpoints / "mlflow-run").write_text("run-1")
        raise ChildDied(-9, "gone")

    await world.told(dataset_event(tmp_path))

    async def goes_on(order: TrainingOrder, progress: Progress) -> TrainingResult:
        runs.append((order.checkpoints / "mlflow-run").read_text())
        return await resumes_at(3)(order, progress)

    await world.attempt(learns_and_is_killed, goes_on)
    first, second = world.fake.orders
    assert first.checkpoints != second.checkpoints and first.output != second.output
    assert runs == ["run-1"]  # both attempts are one run to MLflow
    assert len(await world.published("AdapterTrained")) == 1
    assert "killed by SIGKILL" in next(
        body["detail"]
        for body in await world.published("TrainingProgressed")
        if body["state"] == "queued"
    )


async def test_what_cannot_be_cured_fails_at_once_and_says_why(
    world: World, tmp_path: Path
) -> None:
    await world.told(dataset_event(tmp_path))
    await world.attempt(raises(JobFailed("the loss became NaN at step 3")))
    [job] = await world.jobs.all()
    assert (job.state, job.error) == ("failed", "the loss became NaN at step 3")
    last = (await world.published("TrainingProgressed"))[-1]
    assert (last["state"], last["detail"]) == ("failed", "the loss became NaN at step 3")
    assert not await world.published("AdapterTrained")
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("task", ["summarisation", "conversation"])
async def test_free_text_is_trained(world: World, tmp_path: Path, task: str) -> None:
    await world.told(dataset_event(tmp_path, spec=factories.spec(task=task, labels=())))
    await world.attempt(succeeds)
    [trained] = await world.published("AdapterTrained")
    assert trained["spec"]["task"] == task


async def test_a_child_that_always_dies_is_given_up(world: World, tmp_path: Path) -> None:
    await world.told(dataset_event(tmp_path))
    await world.attempt(*[KILLED] * MAX_ATTEMPTS)
    assert await world.jobs.claim(JOB) is None
    assert (await world.published("TrainingProgressed"))[-1]["state"] == "failed"


async def test_an_unknown_recipe_fails_with_the_known_ones(world: World, tmp_path: Path) -> None:
    await world.told(dataset_event(tmp_path, recipe="no-such"))
    await world.attempt(succeeds)
    assert "tiny-cpu" in (await world.jobs.all())[0].error


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"refused": "the chat template puts '<think>' before"}, "<think>"),
        ({"linear": ("c_attn", "c_proj")}, "no layers called"),
        ({"layers": 12}, "lower first_layer"),
        ({"context": 256}, "attends to 256"),
    ],
)
async def test_what_the_base_model_cannot_do_ends_the_first_attempt_before_it_begins(
    world: World, tmp_path: Path, facts: dict, sentence: str
) -> None:
    world.training.base_facts = FACTS.model_copy(update=facts)
    await world.told(dataset_event(tmp_path))
    await world.attempt(succeeds)
    [job] = await world.jobs.all()
    assert (job.state, world.fake.orders) == ("failed", [])
    assert sentence in job.error


async def test_a_route_that_names_no_recipe_gets_the_one_that_fits_and_is_told_why(
    world: World, tmp_path: Path
) -> None:
    await world.told(dataset_event(tmp_path, recipe="auto"))
    await world.attempt(succeeds)
    assert world.fake.orders[0].recipe.name == "cpu"
    [trained] = await world.published("AdapterTrained")
    assert trained["recipe"] == "cpu"
    said = [each["detail"] for each in await world.published("TrainingProgressed")]
    assert "recipe cpu: 135M parameters, and no GPU" in said


async def test_a_rank_that_is_not_served_is_refused_before_it_is_trained(
    world: World, tmp_path: Path
) -> None:
    world.training.max_rank = 8
    await world.told(dataset_event(tmp_path))
    await world.attempt(succeeds)
    [job] = await world.jobs.all()
    assert (job.state, job.attempt) == ("failed", 1)
    assert "has rank 16, and the engine serves 8 at most" in job.error
    assert not world.fake.orders


async def test_a_half_written_adapter_is_never_published(world: World, tmp_path: Path) -> None:
    async def forgets_the_manifest(order: TrainingOrder, progress: Progress) -> TrainingResult:
        write_adapter(order, result_of(order))
        (order.output / "training.json").unlink()
        return result_of(order)

    await world.told(dataset_event(tmp_path))
    await world.attempt(forgets_the_manifest)
    assert (await world.jobs.all())[0].state == "failed"
    assert not await world.published("AdapterTrained")


async def test_a_worker_that_lost_its_lease_publishes_nothing(world: World, tmp_path: Path) -> None:
    async def taken_over(order: TrainingOrder, progress: Progress) -> TrainingResult:
        async with world.service.db.transaction() as tx:
            await tx.execute(world.jobs.table.update().values(token=world.jobs.table.c.token + 1))
        write_adapter(order, result_of(order))
        return result_of(order)

    await world.told(dataset_event(tmp_path))
    with pytest.raises(LeaseLost):
        await world.attempt(taken_over)
    assert not await world.published("AdapterTrained")


async def test_progress_is_kept_and_published_at_most_every_two_seconds(
    world: World, tmp_path: Path
) -> None:
    async def chatters(order: TrainingOrder, progress: Progress) -> TrainingResult:
        for step in range(1, 50):
            await progress.say(TrainingProgress(step=step, steps=100, loss=1.0))
            await asyncio.sleep(0)
        return await succeeds(order, progress)

    await world.told(dataset_event(tmp_path))
    await world.attempt(chatters)
    # loading, a few, the last step, finished
    assert len(await world.published("TrainingProgressed")) <= 5
    assert (await world.jobs.all())[0].progress["validation_loss"] == 0.6


async def test_a_worker_that_lost_its_lease_says_nothing_more_and_touches_no_file_of_its_successor(
    world: World, tmp_path: Path
) -> None:
    async def taken_over(order: TrainingOrder, progress: Progress) -> TrainingResult:
        save_checkpoint(order.checkpoints, 3)
        async with world.service.db.transaction() as tx:
            await tx.execute(world.jobs.table.update().values(lease_until=0.0))
        world.fake.attempts.append(is_being_done)
        successor = await world.claimed()
        working = asyncio.create_task(
            run_leased(world.jobs, successor, world.training.run, world.training.failed)
        )
        await asyncio.wait_for(begun.wait(), 60)
        with pytest.raises(LeaseLost):
            await progress.say(TrainingProgress(step=9, steps=9, loss=0.1))
        successors.append(working)
        raise ChildDied(-9, "killed by its own heartbeat")

    async def is_being_done(order: TrainingOrder, progress: Progress) -> TrainingResult:
        begun.set()
        await may_end.wait()
        assert order.dataset.exists() and list(order.checkpoints.rglob("_COMPLETE")), (
            "somebody removed them"
        )
        return await succeeds(order, progress)

    begun = asyncio.Event()
    may_end = asyncio.Event()
    successors = []
    await world.told(dataset_event(tmp_path))
    with pytest.raises(LeaseLost):
        await world.attempt(taken_over)
    await world.training.tidy()
    may_end.set()
    await successors[0]
    assert len(await world.published("AdapterTrained")) == 1
    assert all(body["step"] != 9 for body in await world.published("TrainingProgressed"))
    assert [
        entry["outcome"] for entry in await world.jobs.history((await world.jobs.all())[0].job_id)
    ] == ["died", "finished"]


async def test_a_full_disk_is_no_failure_and_asks_for_no_second_copy_of_the_checkpoints(
    world: World, tmp_path: Path
) -> None:
    async def out_of_room(order: TrainingOrder, progress: Progress) -> TrainingResult:
        save_checkpoint(order.checkpoints, 3)
        raise ChildDied(1, "OSError: [Errno 28] No space left on device")

    await world.told(dataset_event(tmp_path))
    await world.attempt(out_of_room)
    [job] = await world.jobs.all()
    assert (job.state, job.strikes) == ("queued", 0) and job.error.startswith("disk: ")
    async with world.service.db.transaction() as tx:
        await tx.execute(world.jobs.table.update().values(lease_until=0.0))
    world.fake.attempts.append(resumes_at(3))
    await run_leased(world.jobs, await world.claimed(), world.training.run, world.training.failed)
    first, _ = world.fake.orders
    assert not list(first.checkpoints.parent.rglob("checkpoint-3")), "it was copied, not moved"
    assert len(await world.published("AdapterTrained")) == 1


async def test_cancelled_while_it_trains_the_child_dies_and_nothing_stays_behind(
    world: World, tmp_path: Path
) -> None:
    children = []

    async def trains_for_ever(order: TrainingOrder, progress: Progress) -> TrainingResult:
        async def hear(message: dict) -> None:
            children.append(message["pid"])

        (order.output / "half").parent.mkdir(parents=True)
        await run_child(
            [
                sys.executable,
                "-c",
                (
                    "import os, json, time; print(json.dumps({'pid': os.getpid()}), flush=True);"
                    " time.sleep(60)"
                ),
            ],
            hear,
        )
        raise AssertionError

    world.jobs.lease_seconds = 1.0
    await world.told(dataset_event(tmp_path))
    world.fake.attempts.append(trains_for_ever)
    working = asyncio.create_task(
        work_once(world.jobs, JOB, world.training.run, world.training.failed)
    )
    async with asyncio.timeout(20):
        while not children:
            await asyncio.sleep(0.05)
    [job] = await world.jobs.running()
    async with world.service.db.transaction() as tx:
        await world.training.failed(
            tx,
            await world.jobs.cancel(tx, job.job_id, "cancelled by ada: wrong recipe"),
            "cancelled by ada: wrong recipe",
            False,
        )
    await asyncio.wait_for(working, 30)
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)
    await world.training.tidy()
    assert not list((tmp_path / "work").iterdir()) and not await world.published("AdapterTrained")
    last = (await world.published("TrainingProgressed"))[-1]
    assert (last["state"], last["detail"]) == ("failed", "cancelled by ada: wrong recipe")
    assert await world.jobs.claim(JOB) is None


async def test_folders_of_jobs_that_are_over_are_removed_and_no_others(
    world: World, tmp_path: Path
) -> None:
    await world.told(dataset_event(tmp_path))
    job = await world.claimed()
    for name in (
        job.run_name,
        f"{job.job_id}.7",
        job.job_id,
        "01a210df-207e-7aeb-a536-aa2f01856b97.0",
        "mlruns",
    ):
        (tmp_path / "work" / name).mkdir(parents=True)
    await world.training.tidy()
    assert {path.name for path in (tmp_path / "work").iterdir()} == {job.run_name, "mlruns"}


def of_globex(event: DatasetBuilt) -> DatasetBuilt:
    spec = factories.spec(name="globex/support-triage")
    return factories.dataset(tenant="globex", route=spec.name, spec=spec, blob=event.blob)


async def test_a_long_training_gives_way_at_a_checkpoint_and_goes_on_from_there(
    world: World, tmp_path: Path
) -> None:
    world.training.turn_seconds = 0.0
    order: list[str] = []

    async def learns(told: TrainingOrder, progress: Progress) -> TrainingResult:
        order.append(f"{told.spec.name} from the beginning")
        save_checkpoint(told.checkpoints, 3)
        await progress.say(TrainingProgress(step=3, steps=9, loss=1.0))
        await progress.saved(3)
        raise AssertionError("it went on though another tenant waits")

    async def other(told: TrainingOrder, progress: Progress) -> TrainingResult:
        order.append(told.spec.name)
        await progress.saved(3)  # the first one waits, but has come no further than this
        return await succeeds(told, progress)

    async def goes_on(told: TrainingOrder, progress: Progress) -> TrainingResult:
        order.append(f"{told.spec.name} goes on")
        return await resumes_at(3)(told, progress)

    event = dataset_event(tmp_path)
    await world.told(event)
    await world.told(of_globex(event))
    await world.attempt(learns)
    world.training.turn_seconds = 60.0
    await world.attempt(other, goes_on)
    assert order == [
        "acme/support-triage from the beginning",
        "globex/support-triage",
        "acme/support-triage goes on",
    ]
    states = [body["state"] for body in await world.published("TrainingProgressed")]
    assert "queued" in states and states[-1] == "finished"
    assert len(await world.published("AdapterTrained")) == 2


async def test_where_checkpoints_stay_behind_a_training_is_not_paused_again_at_once(
    world: World, tmp_path: Path
) -> None:
    """On another machine it begins anew, and must come further than when it was paused."""
    world.training.turn_seconds = 0.0
    event = dataset_event(tmp_path)
    await world.told(event)
    await world.told(of_globex(event))
    job = await world.claimed()
    reporter = Reporter(world.training, replace(job, progress={"step": 3}), event)
    await reporter.saved(3)
    with pytest.raises(TurnOver):
        await reporter.saved(6)


def test_what_a_process_wrote_before_it_died_is_kept_for_a_week(tmp_path: Path) -> None:
    for name, age in (("old.log", 8 * 86_400), ("new.log", 3600)):
        path = tmp_path / name
        path.write_text("a row of the dataset")
        os.utime(path, (time.time() - age, time.time() - age))
    forget_old(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new.log"]
    forget_old(tmp_path / "nothing was written yet")

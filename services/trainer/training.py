"""A training as a stored job: fetch the dataset, train, store the adapter, publish it."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import AdapterRef, BlobRef
from schemas.events import AdapterTrained, DatasetBuilt, TrainingProgressed
from services.trainer.base_facts import BaseFacts, ChosenRecipe, recipe_for
from services.trainer.checkpoints import CHECKPOINTS, hand_over, inherit
from services.trainer.order import JOB, TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Executor
from services.trainer.recipe import TrainingRecipe
from services.trainer.store import Adapters
from shared.errors import JobFailed, RatchetError
from shared.events import Outbox
from shared.jobs import Job, JobStore, TurnOver
from shared.rules import AdapterFolderRefused, examine_new_adapter
from shared.storage import BlobStore, Database
from shared.telemetry import log

# At most this often progress is published.
PUBLISH_SECONDS = 2.0
# How long the last words of a process that died are kept.
STDERR_SECONDS = 7 * 86_400.0
# What a job's folder is called: its id, and how often it was begun anew (`Job.name`).
JOB_FOLDER = re.compile(r"[0-9a-f-]{36}(\.\d+)?")
JobState = Literal["queued", "running", "finished", "failed"]


class RankNotServed(JobFailed):
    def __init__(self, recipe: str, rank: int, most: int) -> None:
        super().__init__(
            f"recipe '{recipe}' has rank {rank}, and the engine serves {most} at most: lower the"
            " rank, or raise MAX_LORA_RANK, which trainer and vLLM are given"
        )


class AdapterUnusable(JobFailed):
    def __init__(self, problem: str) -> None:
        super().__init__(f"training ended with an adapter that cannot be served: {problem}")


@dataclass
class Training:
    """Turns datasets into adapters; `run` is the job."""

    db: Database
    jobs: JobStore
    outbox: Outbox
    adapters: Adapters
    blobs: BlobStore
    executor: Executor
    base_model: str
    work_dir: Path
    recipes_dir: Path
    tracking_uri: str
    # How long a training goes on while another tenant waits.
    turn_seconds: float
    # The engine refuses adapters of a larger one: hours later, when they are trained.
    max_rank: int
    # Known from the first look on.
    base_facts: BaseFacts | None = None

    async def on_dataset_built(self, tx: AsyncConnection, event: DatasetBuilt) -> None:
        await self.jobs.add(tx, JOB, event.event_id, event.model_dump(mode="json"))

    async def run(self, job: Job) -> None:
        event = DatasetBuilt.model_validate(job.payload)
        started = time.monotonic()
        chosen = await self._recipe(event)
        order = await self._order(job, event, chosen.recipe)
        try:
            progress = Reporter(self, job, event)
            await progress.say(TrainingProgress(detail=chosen.because or "loading the model"))
            result = await self.executor.train(order, progress)
            await asyncio.to_thread(check_adapter, order.output, order.recipe.rank)
            blob = await asyncio.to_thread(self.blobs.put_folder, order.output, "adapters")
            await self._publish(job, event, order, result, blob, time.monotonic() - started)
        # Only this attempt's folders: when the lease was lost, a successor works beside it.
        finally:
            shutil.rmtree(order.output, ignore_errors=True)
            hand_over(order.output.parent)

    async def tidy(self) -> None:
        """Remove the folders of jobs that are over, since they hold copies of reviewed texts.

        A job that an operator retries fetches them again.
        """
        found = [
            path.name
            for path in self.work_dir.glob("*")
            if path.is_dir() and JOB_FOLDER.fullmatch(path.name)
        ]
        for name in await self.jobs.finished_runs(found):
            await asyncio.to_thread(shutil.rmtree, self.work_dir / name, ignore_errors=True)
        await asyncio.to_thread(forget_old, self.work_dir / "stderr")

    async def failed(self, tx: AsyncConnection, job: Job, reason: str, retry: bool) -> None:
        """Publish that an attempt failed, in the transaction that stores it.

        It is also called for a job that an operator cancelled.
        """
        event = DatasetBuilt.model_validate(job.payload)
        progress = TrainingProgress(**job.progress | {"detail": reason[:500]})
        state: JobState = "queued" if retry else "failed"
        await self.outbox.add(tx, progressed(job, event, progress, state))

    async def look(self) -> None:
        """Look at the base model while nobody waits for it, and say what cannot be trained."""
        try:
            facts = await self._facts()
        except RatchetError as error:
            log("training").error("no training of this base model can succeed", why=str(error))
            return
        told = facts.template_arguments
        log("training").info("base model", size=facts.size, gpus=len(facts.gpus), template=told)

    async def _facts(self) -> BaseFacts:
        if self.base_facts is None:
            self.base_facts = await self.executor.look(self.base_model)
        if self.base_facts.refused:
            raise JobFailed(self.base_facts.refused)
        return self.base_facts

    async def _recipe(self, event: DatasetBuilt) -> ChosenRecipe:
        """Return the recipe to train by, checked before anything is loaded. Raises JobFailed."""
        chosen = recipe_for(self.recipes_dir, event.recipe, await self._facts())
        if chosen.recipe.rank > self.max_rank:
            raise RankNotServed(chosen.recipe.name, chosen.recipe.rank, self.max_rank)
        if chosen.because:
            log("training").info("recipe", dataset_id=event.dataset_id, why=chosen.because)
        return chosen

    async def _order(self, job: Job, event: DatasetBuilt, recipe: TrainingRecipe) -> TrainingOrder:
        folder = (self.work_dir / job.run_name).absolute()
        dataset = await asyncio.to_thread(self.blobs.get_folder, event.blob, folder / "dataset")
        # An attempt writes where no other one does, so that a worker which was taken for dead
        # cannot touch its successor's files.
        attempt = folder / f"attempt-{job.token}"
        await asyncio.to_thread(inherit, folder, attempt)
        return TrainingOrder(
            job_id=job.job_id,
            dataset_id=event.dataset_id,
            dataset_sha256=event.blob.sha256,
            dataset=dataset,
            spec=event.spec,
            recipe=recipe,
            base_model=self.base_model,
            checkpoints=attempt / CHECKPOINTS,
            output=attempt / "adapter",
            tracking_uri=self.tracking_uri,
        )

    async def _publish(
        self,
        job: Job,
        event: DatasetBuilt,
        order: TrainingOrder,
        result: TrainingResult,
        blob: BlobRef,
        seconds: float,
    ) -> None:
        """Commit the end of the job, the adapter's record and its event together.

        Those of a worker that lost its lease are rolled back. Raises LeaseLost.
        """
        trained = AdapterTrained(
            tenant=event.tenant,
            route=event.route,
            adapter=adapter_ref(event.route, blob),
            dataset_id=event.dataset_id,
            dataset=event.blob,
            base_model=result.base_model,
            recipe=order.recipe.name,
            recipe_sha256=result.recipe_sha256,
            rank=order.recipe.rank,
            train_loss=result.train_loss,
            validation_loss=result.validation_loss,
            seconds=seconds,
            run_id=result.run_id,
            job_id=job.job_id,
            spec=event.spec,
        )
        done = TrainingProgress(
            step=result.steps,
            steps=result.steps,
            loss=result.train_loss,
            validation_loss=result.validation_loss,
            tokens_per_second=result.tokens_per_second,
            detail=trained.adapter.adapter_id,
        )
        async with self.db.transaction() as tx:
            await self.jobs.finish(
                tx, job, {"adapter_id": trained.adapter.adapter_id, **result.model_dump()}
            )
            await self.adapters.add(tx, trained)
            await self.outbox.add(tx, trained, progressed(job, event, done, "finished"))
        log("training").info(
            "trained", adapter_id=trained.adapter.adapter_id, seconds=round(seconds, 1)
        )


class Reporter:
    """Keeps a job's progress current, and publishes it at most every PUBLISH_SECONDS."""

    def __init__(self, training: Training, job: Job, event: DatasetBuilt) -> None:
        self.training = training
        self.job = job
        self.event = event
        # Where it was when it was claimed: it must have come further before it is paused again.
        self.known_step = job.progress.get("step", 0)
        self._began = time.monotonic()
        self._published = 0.0

    async def say(self, progress: TrainingProgress) -> None:
        if time.monotonic() - self._published < PUBLISH_SECONDS and progress.step < progress.steps:
            return
        self._published = time.monotonic()
        # Together, so that a worker which lost the job says nothing more of it.
        async with self.training.db.transaction() as tx:
            await self.training.jobs.report(tx, self.job, progress.model_dump())
            await self.training.outbox.add(
                tx, progressed(self.job, self.event, progress, "running")
            )

    async def saved(self, step: int) -> None:
        """Raise TurnOver when this job had its turn, another tenant waits, and it can go on here.

        Where its checkpoints stayed on another machine it begins anew: pausing it each time at the
        same step would never end.
        """
        if time.monotonic() - self._began < self.training.turn_seconds or step <= self.known_step:
            return
        if await self.training.jobs.turns.anybody_waits(JOB, besides=self.job):
            raise TurnOver


def progressed(
    job: Job, event: DatasetBuilt, progress: TrainingProgress, state: JobState
) -> TrainingProgressed:
    return TrainingProgressed(
        tenant=event.tenant,
        route=event.route,
        job_id=job.job_id,
        dataset_id=event.dataset_id,
        state=state,
        attempt=job.attempt,
        **progress.model_dump(),
    )


def forget_old(folder: Path) -> None:
    """Delete what processes wrote before they died, once it is a week old: it may hold texts."""
    for path in folder.glob("*.log"):
        if time.time() - path.stat().st_mtime > STDERR_SECONDS:
            path.unlink(missing_ok=True)


def check_adapter(folder: Path, rank: int) -> None:
    """Raise AdapterUnusable unless vLLM can serve the adapter in `folder`."""
    try:
        examine_new_adapter(folder, rank)
    except AdapterFolderRefused as refused:
        raise AdapterUnusable(str(refused)) from refused


def adapter_ref(route: str, blob: BlobRef) -> AdapterRef:
    """Name an adapter after its route and its digest."""
    return AdapterRef(adapter_id=f"{route.replace('/', '--')}@{blob.sha256[:12]}", blob=blob)

"""One training as a stored job: fetch the dataset, train in a child, store the adapter under its digest, publish."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import AdapterRef, BlobRef
from schemas.events import AdapterTrained, DatasetBuilt, TrainingProgressed
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Adapters, Executor
from services.trainer.recipe import load_recipe
from services.trainer.verify import check_adapter
from shared.blobs import BlobStore
from shared.db import Database
from shared.jobs import Job, JobStore
from shared.outbox import Outbox
from shared.telemetry import log

PUBLISH_SECONDS = 2.0


@dataclass
class Training:
    """Everything a training needs; `run` is the job."""

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

    async def run(self, job: Job) -> None:
        event, started = DatasetBuilt.model_validate(job.payload), time.monotonic()
        order = await self._order(job, event)
        progress = Reporter(self, job, event)
        await progress.say(TrainingProgress(detail="loading the model"))
        result = await self.executor.train(order, progress.say)
        await asyncio.to_thread(check_adapter, order.output, order.recipe.rank)
        blob = await asyncio.to_thread(self.blobs.put_folder, order.output, "adapters")
        await self._publish(job, event, order, result, blob, time.monotonic() - started)
        await asyncio.to_thread(shutil.rmtree, self._folder(job), ignore_errors=True)

    async def failed(self, tx: AsyncConnection, job: Job, reason: str, retry: bool) -> None:
        """Called in the transaction that stores the failure."""
        event = DatasetBuilt.model_validate(job.payload)
        state = "queued" if retry else "failed"
        await self.outbox.add(tx, progressed(job, event, TrainingProgress(**job.progress | {"detail": reason[:500]}), state))
        if not retry:  # a copy of reviewed texts must not stay behind; a retry on command fetches them again
            await asyncio.to_thread(shutil.rmtree, self._folder(job), ignore_errors=True)

    async def _order(self, job: Job, event: DatasetBuilt) -> TrainingOrder:
        recipe = load_recipe(self.recipes_dir, event.recipe)
        folder = self._folder(job)
        dataset = await asyncio.to_thread(self.blobs.get_folder, event.blob, folder / "dataset")
        # An attempt writes where no other one does: a zombie that wakes up cannot touch its successor's files.
        return TrainingOrder(
            job_id=job.job_id, dataset_id=event.dataset_id, dataset_sha256=event.blob.sha256, dataset=dataset, spec=event.spec, recipe=recipe,
            base_model=self.base_model, checkpoints=folder / "checkpoints", output=folder / f"attempt-{job.token}", tracking_uri=self.tracking_uri)  # fmt: skip

    async def _publish(self, job: Job, event: DatasetBuilt, order: TrainingOrder, result: TrainingResult, blob: BlobRef, seconds: float) -> None:
        """The end of the job, the adapter's record and its event commit together; a stale worker's are rolled back."""
        trained = AdapterTrained(
            tenant=event.tenant, route=event.route, adapter=adapter_ref(event.route, blob), dataset_id=event.dataset_id, dataset=event.blob,
            base_model=result.base_model, recipe=event.recipe, recipe_sha256=order.recipe.sha256, rank=order.recipe.rank, train_loss=result.train_loss,
            validation_loss=result.validation_loss, seconds=seconds, run_id=result.run_id, job_id=job.job_id, spec=event.spec)  # fmt: skip
        done = TrainingProgress(step=result.steps, steps=result.steps, loss=result.train_loss, validation_loss=result.validation_loss,
                                tokens_per_second=result.tokens_per_second, detail=trained.adapter.adapter_id)  # fmt: skip
        async with self.db.transaction() as tx:
            await self.jobs.finish(tx, job, {"adapter_id": trained.adapter.adapter_id, **result.model_dump()})
            await self.adapters.add(tx, trained)
            await self.outbox.add(tx, trained, progressed(job, event, done, "finished"))
        log("training").info("trained", adapter_id=trained.adapter.adapter_id, seconds=round(seconds, 1))

    def _folder(self, job: Job) -> Path:
        return (self.work_dir / job.job_id).absolute()


class Reporter:
    """Keeps the job's progress current, and publishes it at most every two seconds."""

    def __init__(self, training: Training, job: Job, event: DatasetBuilt) -> None:
        self.training, self.job, self.event = training, job, event
        self._published = 0.0

    async def say(self, progress: TrainingProgress) -> None:
        if time.monotonic() - self._published < PUBLISH_SECONDS and progress.step < progress.steps:
            return
        self._published = time.monotonic()
        await self.training.jobs.renew(self.job, progress.model_dump())
        async with self.training.db.transaction() as tx:
            await self.training.outbox.add(tx, progressed(self.job, self.event, progress, "running"))


def progressed(job: Job, event: DatasetBuilt, progress: TrainingProgress, state: str) -> TrainingProgressed:
    return TrainingProgressed(tenant=event.tenant, route=event.route, job_id=job.job_id, dataset_id=event.dataset_id, state=state,
                              attempt=job.attempt, **progress.model_dump())  # fmt: skip


def adapter_ref(route: str, blob: BlobRef) -> AdapterRef:
    return AdapterRef(adapter_id=f"{route.replace('/', '--')}@{blob.sha256[:12]}", blob=blob)


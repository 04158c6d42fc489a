"""One training as a stored job: fetch the dataset, train in a child, store the adapter under its
digest, publish.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import AdapterRef, BlobRef
from schemas.events import AdapterTrained, DatasetBuilt, TrainingProgressed
from services.trainer.checkpoints import CHECKPOINTS, hand_over, inherit
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Adapters, Executor
from services.trainer.recipe import load_recipe
from services.trainer.verify import check_adapter
from shared.events.outbox import Outbox
from shared.jobs.worker import Job, JobStore
from shared.storage.blobs import BlobStore
from shared.storage.db import Database
from shared.telemetry import log

PUBLISH_SECONDS = 2.0
FOLDER = re.compile(r"[0-9a-f-]{36}(\.\d+)?")  # of a job: its id, and which life of it


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
        event = DatasetBuilt.model_validate(job.payload)
        started = time.monotonic()
        order = await self._order(job, event)
        try:
            progress = Reporter(self, job, event)
            await progress.say(TrainingProgress(detail="loading the model"))
            result = await self.executor.train(order, progress.say)
            await asyncio.to_thread(check_adapter, order.output, order.recipe.rank)
            blob = await asyncio.to_thread(self.blobs.put_folder, order.output, "adapters")
            await self._publish(job, event, order, result, blob, time.monotonic() - started)
        finally:  # of this attempt alone: when the lease was lost, a successor works beside it
            shutil.rmtree(order.output, ignore_errors=True)
            hand_over(order.output.parent)

    async def tidy(self) -> None:
        """Remove the folders of jobs that are over: they hold copies of reviewed texts. A retry on
        command fetches them again.
        """
        found = [
            path.name
            for path in self.work_dir.glob("*")
            if path.is_dir() and FOLDER.fullmatch(path.name)
        ]
        for name in await self.jobs.over(found):
            await asyncio.to_thread(shutil.rmtree, self.work_dir / name, ignore_errors=True)

    async def failed(self, tx: AsyncConnection, job: Job, reason: str, retry: bool) -> None:
        """Called in the transaction that stores the failure, or the end by an operator's hand."""
        event = DatasetBuilt.model_validate(job.payload)
        state = "queued" if retry else "failed"
        await self.outbox.add(
            tx,
            progressed(
                job, event, TrainingProgress(**job.progress | {"detail": reason[:500]}), state
            ),
        )

    async def _order(self, job: Job, event: DatasetBuilt) -> TrainingOrder:
        recipe = load_recipe(self.recipes_dir, event.recipe)
        folder = (self.work_dir / job.name).absolute()
        dataset = await asyncio.to_thread(self.blobs.get_folder, event.blob, folder / "dataset")
        # An attempt writes where no other one does: a zombie that wakes up cannot touch its
        # successor's files.
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
        """The end of the job, the adapter's record and its event commit together; a stale worker's
        are rolled back.
        """
        trained = AdapterTrained(
            tenant=event.tenant,
            route=event.route,
            adapter=adapter_ref(event.route, blob),
            dataset_id=event.dataset_id,
            dataset=event.blob,
            base_model=result.base_model,
            recipe=event.recipe,
            recipe_sha256=order.recipe.sha256,
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
    """Keeps the job's progress current, and publishes it at most every two seconds."""

    def __init__(self, training: Training, job: Job, event: DatasetBuilt) -> None:
        self.training = training
        self.job = job
        self.event = event
        self._published = 0.0

    async def say(self, progress: TrainingProgress) -> None:
        if time.monotonic() - self._published < PUBLISH_SECONDS and progress.step < progress.steps:
            return
        self._published = time.monotonic()
        async with (
            self.training.db.transaction() as tx
        ):  # together: a worker that lost the job says nothing more of it
            await self.training.jobs.report(tx, self.job, progress.model_dump())
            await self.training.outbox.add(
                tx, progressed(self.job, self.event, progress, "running")
            )


def progressed(
    job: Job, event: DatasetBuilt, progress: TrainingProgress, state: str
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


def adapter_ref(route: str, blob: BlobRef) -> AdapterRef:
    return AdapterRef(adapter_id=f"{route.replace('/', '--')}@{blob.sha256[:12]}", blob=blob)

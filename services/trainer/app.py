"""The composition root of the trainer: settings in, a runnable service out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import MetaData

from schemas import topics
from services.trainer.adapters.child import ChildExecutor
from services.trainer.api import adapters_api, described
from services.trainer.order import JOB
from services.trainer.ports import Executor
from services.trainer.settings import Settings
from services.trainer.store import Adapters
from services.trainer.training import Training
from shared.events import Outbox, Sender
from shared.jobs import JobStore, Limit, jobs_api, work
from shared.rules import RouteBook
from shared.service import Service
from shared.storage import BlobStore, Database


@dataclass(frozen=True)
class Parts:
    """What tests and tools reach."""

    jobs: JobStore
    adapters: Adapters
    training: Training


def build(
    settings: Settings, sender: Sender | None = None, executor: Executor | None = None
) -> Service[Parts]:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("trainer", metadata)
    jobs = JobStore(db, metadata, per_tenant=settings.jobs_per_tenant)
    limit = Limit(settings.job_hours, "TRAINER_JOB_HOURS")
    routes = RouteBook(metadata)
    adapters = Adapters(metadata)
    work_dir = settings.work_dir.absolute()
    training = Training(
        db=db,
        jobs=jobs,
        outbox=outbox,
        adapters=adapters,
        blobs=BlobStore(settings.artifacts_url),
        executor=executor or ChildExecutor(settings.recipes_dir),
        base_model=settings.base_model,
        work_dir=work_dir,
        recipes_dir=settings.recipes_dir,
        tracking_uri=settings.mlflow_tracking_uri or f"sqlite:///{work_dir}/mlflow.db",
        turn_seconds=settings.turn_minutes * 60.0,
        max_rank=settings.max_lora_rank,
    )
    return Service(
        name="trainer",
        settings=settings,
        metadata=metadata,
        handlers={
            topics.DATASET_BUILT: training.on_dataset_built,
            topics.ROUTE_CHANGED: routes.on_route_changed,
        },
        http=[adapters_api(db, adapters), jobs_api(jobs, described, training.failed)],
        db=db,
        outbox=outbox,
        parts=Parts(jobs, adapters, training),
        workers=[
            training.look,
            partial(work, jobs, JOB, training.run, training.failed, training.tidy, limit),
        ],
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )

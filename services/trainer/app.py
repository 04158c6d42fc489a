"""Composition root of the trainer: settings, adapters, wiring; nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy import MetaData

from services.trainer import api, handlers
from services.trainer.adapters.child import ChildExecutor
from services.trainer.ports import Executor
from services.trainer.settings import Settings
from services.trainer.store import SqlAdapters
from services.trainer.training import Training
from shared.events.outbox import Outbox, Sender
from shared.jobs.api import jobs_api
from shared.jobs.worker import JobStore, work
from shared.rules.routes import RouteBook
from shared.service import Service
from shared.storage.blobs import BlobStore
from shared.storage.db import Database


def build(
    settings: Settings, sender: Sender | None = None, executor: Executor | None = None
) -> Service:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox(handlers.SERVICE, metadata)
    jobs = JobStore(db, metadata)
    routes = RouteBook(metadata)
    adapters = SqlAdapters(metadata)
    work_dir = settings.work_dir.absolute()
    training = Training(
        db,
        jobs,
        outbox,
        adapters,
        BlobStore(settings.artifacts_url),
        executor or ChildExecutor(),
        settings.base_model,
        work_dir,
        settings.recipes_dir,
        settings.mlflow_tracking_uri or f"sqlite:///{work_dir}/mlflow.db",
    )
    return Service(
        name=handlers.SERVICE,
        settings=settings,
        metadata=metadata,
        events=handlers.router,
        db=db,
        outbox=outbox,
        http=[api.router, jobs_api(jobs, api.described, training.failed)],
        context={"jobs": jobs, "routes": routes, "adapters": adapters},
        workers=[partial(work, jobs, handlers.JOB, training.run, training.failed, training.tidy)],
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )

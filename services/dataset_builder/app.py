"""The composition root: settings to adapters to service, and nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy import MetaData

from services.dataset_builder import api, handlers
from services.dataset_builder.adapters.folder import read_rows, write_folder
from services.dataset_builder.settings import Settings
from services.dataset_builder.store.ledger import JOB, Ledger
from services.dataset_builder.store.views import Views
from services.dataset_builder.worker import Builder
from shared.events.outbox import Outbox, Sender
from shared.jobs.api import jobs_api
from shared.jobs.worker import JobStore, work
from shared.rules.routes import RouteBook
from shared.service import Service
from shared.storage.blobs import BlobStore
from shared.storage.db import Database


def build(settings: Settings, sender: Sender | None = None) -> Service:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox(handlers.SERVICE, metadata)
    jobs = JobStore(db, metadata)
    routes = RouteBook(metadata)
    ledger = Ledger(db, metadata, jobs, routes)
    blobs = BlobStore(settings.artifacts_url)
    builder = Builder(db, jobs, ledger, blobs, outbox, write_folder)
    return Service(
        name=handlers.SERVICE,
        settings=settings,
        metadata=metadata,
        events=handlers.router,
        db=db,
        outbox=outbox,
        http=[api.router, jobs_api(jobs, api.described, builder.gave_up, builder.reopen)],
        context={"ledger": ledger, "views": Views(ledger), "blobs": blobs, "read_rows": read_rows},
        workers=[partial(work, jobs, JOB, builder.run, builder.gave_up)],
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )

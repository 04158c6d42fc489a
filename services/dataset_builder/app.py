"""Composition root of the dataset-builder: settings, adapters, wiring; nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import MetaData

from schemas import topics
from services.dataset_builder.adapters.folder import (
    lost_bytes,
    read_lost,
    read_rows,
    read_trained,
    write_folder,
)
from services.dataset_builder.api import datasets_api, described
from services.dataset_builder.brakes import Brakes
from services.dataset_builder.ledger import Ledger
from services.dataset_builder.order import JOB
from services.dataset_builder.readiness import Readiness
from services.dataset_builder.settings import Settings
from services.dataset_builder.store.builds import BuildStore
from services.dataset_builder.store.datasets import DatasetStore
from services.dataset_builder.store.feedback import FeedbackStore
from services.dataset_builder.store.requests import RequestStore
from services.dataset_builder.store.verdicts import VerdictStore
from services.dataset_builder.worker import Builder
from shared.events import Outbox, Sender
from shared.jobs import JobStore, Limit, jobs_api, work
from shared.rules import RouteBook
from shared.service import Service
from shared.storage import BlobStore, Database

NAME = "dataset-builder"


@dataclass(frozen=True)
class Parts:
    """What tests and tools reach."""

    jobs: JobStore
    ledger: Ledger
    feedback: FeedbackStore
    builder: Builder
    blobs: BlobStore


def build(settings: Settings, sender: Sender | None = None) -> Service[Parts]:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox(NAME, metadata)
    jobs = JobStore(db, metadata, per_tenant=settings.jobs_per_tenant)
    limit = Limit(settings.job_hours, "DATASET_BUILDER_JOB_HOURS")
    verdicts = VerdictStore(metadata)
    datasets = DatasetStore(metadata)
    feedback = FeedbackStore(metadata, verdicts)
    builds = BuildStore(metadata)
    ledger = Ledger(jobs, RouteBook(metadata), verdicts, builds, datasets, outbox)
    blobs = BlobStore(settings.artifacts_url)
    requests = RequestStore(metadata)
    builder = Builder(
        db, jobs, ledger, requests, blobs, outbox, write_folder, lost_bytes, read_trained
    )
    readings = Readiness(ledger, feedback)
    return Service(
        name=NAME,
        settings=settings,
        metadata=metadata,
        handlers={
            topics.REVIEW_COMPLETED: ledger.on_review_completed,
            topics.FEEDBACK_RECORDED: feedback.on_feedback_recorded,
            topics.DRIFT_DETECTED: ledger.on_drift_detected,
            topics.ROUTE_CHANGED: ledger.on_route_changed,
        },
        http=[
            datasets_api(db, datasets, ledger, readings, blobs, read_rows, read_lost),
            jobs_api(jobs, described, builder.gave_up, builder.reopen),
        ],
        db=db,
        outbox=outbox,
        parts=Parts(jobs, ledger, feedback, builder, blobs),
        workers=[
            partial(work, jobs, JOB, builder.run, builder.gave_up, None, limit),
            Brakes(db, ledger).run,
        ],
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )

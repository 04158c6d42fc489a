"""Composition root of the evaluator: settings, adapters, wiring; nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy import MetaData

from services.evaluator import api, handlers
from services.evaluator.adapters.reports import ChildReports
from services.evaluator.adapters.transcript import FileTranscripts
from services.evaluator.adapters.vllm import VllmGenerator
from services.evaluator.evaluation import Evaluation
from services.evaluator.settings import Settings
from services.evaluator.store.evaluations import SqlEvaluations
from services.evaluator.store.monitors import SqlMonitors
from services.evaluator.store.streams import SqlStreams
from services.evaluator.watch import Watch
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
    evaluations = SqlEvaluations(metadata)
    streams = SqlStreams(metadata)
    blobs = BlobStore(settings.artifacts_url)
    monitors = SqlMonitors(metadata, streams, settings.error_arl)
    reports = ChildReports(blobs)
    vllm = VllmGenerator(
        settings.vllm_url,
        settings.vllm_api_key,
        settings.request_timeout_seconds,
        settings.concurrency,
    )
    transcripts = FileTranscripts(settings.cache_dir / "transcripts")
    evaluation = Evaluation(
        db,
        jobs,
        outbox,
        routes,
        evaluations,
        blobs,
        vllm,
        transcripts,
        reports,
        settings.cache_dir,
        settings.concurrency,
    )
    watch = Watch(db, outbox, monitors, streams, reports)
    return Service(
        name=handlers.SERVICE,
        settings=settings,
        metadata=metadata,
        events=handlers.router,
        db=db,
        outbox=outbox,
        http=[api.router, jobs_api(jobs, api.described)],
        context={
            "jobs": jobs,
            "routes": routes,
            "evaluations": evaluations,
            "streams": streams,
            "monitors": monitors,
            "blobs": blobs,
        },
        workers=[
            partial(work, jobs, handlers.JOB, evaluation.run, None, evaluation.tidy),
            watch.run,
        ],
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )

"""Composition root of the evaluator: settings, adapters, wiring; nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import MetaData

from schemas import topics
from services.evaluator.adapters.judge import ChatJudge
from services.evaluator.adapters.reports import ChildReports
from services.evaluator.adapters.vllm import VllmGenerator
from services.evaluator.alarms import Alarms
from services.evaluator.api import described, evaluations_api
from services.evaluator.asking import Questions
from services.evaluator.contests import CONCLUDE, JOB, Contests
from services.evaluator.evaluation import Evaluation
from services.evaluator.gauges import Gauges
from services.evaluator.handlers import EventHandlers
from services.evaluator.judging import Judging
from services.evaluator.recalibration import KIND, Recalibration
from services.evaluator.rises import Rises
from services.evaluator.settings import Settings
from services.evaluator.store.answered import AnsweredStore
from services.evaluator.store.comparisons import ComparisonStore
from services.evaluator.store.contests import ContestStore
from services.evaluator.store.evaluations import EvaluationStore
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.store.populations import PopulationStore
from services.evaluator.store.reviewers import LookStore
from services.evaluator.store.streams import StreamStore
from services.evaluator.store.transcripts import TranscriptStore
from services.evaluator.watch import Watch
from services.evaluator.windows import Windows
from shared.events import Handlers, Outbox, Sender
from shared.jobs import JobStore, Limit, jobs_api, work
from shared.rules import RouteBook
from shared.service import Service, Worker
from shared.storage import BlobStore, Database

NAME = "evaluator"


@dataclass(frozen=True)
class Parts:
    """What tests and tools reach."""

    jobs: JobStore
    evaluations: EvaluationStore
    monitors: MonitorStore
    looks: LookStore
    comparisons: ComparisonStore
    contests: Contests
    blobs: BlobStore


def build(settings: Settings, sender: Sender | None = None) -> Service[Parts]:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox(NAME, metadata)
    jobs = JobStore(db, metadata, per_tenant=settings.jobs_per_tenant)
    limit = Limit(settings.job_hours, "EVALUATOR_JOB_HOURS")
    routes = RouteBook(metadata)
    evaluations = EvaluationStore(metadata)
    populations = PopulationStore(metadata)
    streams = StreamStore(metadata)
    monitors = MonitorStore(metadata, streams, settings.error_arl)
    answered = AnsweredStore(metadata, streams, settings.accuracy_days)
    looks = LookStore(metadata)
    comparisons = ComparisonStore(metadata)
    blobs = BlobStore(settings.artifacts_url)
    reports = ChildReports(blobs)
    handlers = EventHandlers(jobs, routes, streams, monitors, answered, looks)
    vllm = _engine(settings)
    judge = _judge(settings)
    asked = ContestStore(metadata)
    judging = Judging(judge, settings.concurrency)
    stored = outbox, routes, evaluations, comparisons, asked, blobs
    contests = Contests(db, jobs, *stored, reports, judging, settings.contest_days)
    transcripts = TranscriptStore(settings.cache_dir / "transcripts")
    evaluation = Evaluation(
        db=db,
        jobs=jobs,
        outbox=outbox,
        routes=routes,
        evaluations=evaluations,
        blobs=blobs,
        generator=vllm,
        transcripts=transcripts,
        questions=Questions(jobs, vllm, transcripts, settings.concurrency),
        reports=reports,
        populations=populations,
        looks=looks,
        contests=contests,
        cache_dir=settings.cache_dir.resolve(),
    )
    watch = _watch(db, reports, Alarms(db, outbox, monitors, streams, answered))
    api = evaluations_api(db, evaluations, contests, monitors, answered, blobs)
    return Service(
        name=NAME,
        settings=settings,
        metadata=metadata,
        handlers=_handlers(handlers, streams, comparisons),
        http=[api, jobs_api(jobs, described)],
        db=db,
        outbox=outbox,
        parts=Parts(jobs, evaluations, monitors, looks, comparisons, contests, blobs),
        workers=[
            *_workers(evaluation, Recalibration(evaluation, populations), limit),
            watch.run,
            Gauges(db, monitors, answered).run,
        ],
        sender=sender,
        on_stop=[vllm.close, *([judge.close] if judge else [])],
        migrations=Path(__file__).with_name("migrations"),
    )


def _engine(settings: Settings) -> VllmGenerator:
    return VllmGenerator(
        settings.vllm_url,
        settings.vllm_api_key,
        settings.request_timeout_seconds,
        settings.concurrency,
    )


def _judge(settings: Settings) -> ChatJudge | None:
    if not settings.judge_url:
        return None
    key = settings.judge_api_key.get_secret_value()
    return ChatJudge(
        settings.judge_url, settings.judge_model, key, settings.request_timeout_seconds
    )


def _workers(evaluation: Evaluation, recalibration: Recalibration, limit: Limit) -> list[Worker]:
    jobs, contests = evaluation.jobs, evaluation.contests
    return [
        partial(work, jobs, JOB, evaluation.run, None, evaluation.tidy, limit),
        partial(work, jobs, CONCLUDE, contests.run),
        contests.watch,
        partial(work, jobs, KIND, recalibration.run, None, None, limit),
        recalibration.watch,
    ]


def _watch(db: Database, reports: ChildReports, alarms: Alarms) -> Watch:
    windows = Windows(db, alarms.streams, reports, alarms)
    return Watch(db, alarms.monitors, windows, Rises(db, alarms.streams, reports, alarms))


def _handlers(
    handlers: EventHandlers, streams: StreamStore, comparisons: ComparisonStore
) -> Handlers:
    return {
        topics.ADAPTER_TRAINED: handlers.on_adapter_trained,
        topics.ROUTE_CHANGED: handlers.on_route_changed,
        topics.INFERENCE_RECORDED: handlers.on_inference_recorded,
        topics.REVIEW_COMPLETED: handlers.on_review_completed,
        topics.FEEDBACK_RECORDED: streams.on_feedback_recorded,
        topics.ANSWERS_COMPARED: comparisons.on_answers_compared,
    }

"""Composition root of review: settings in, a runnable service out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import MetaData
from starlette.staticfiles import StaticFiles

from schemas import topics
from services.review.api import review_api
from services.review.comparing import Comparing, comparisons_api
from services.review.desk import Desk
from services.review.headers import SecurityHeaders
from services.review.housekeeping import Housekeeping
from services.review.intake import Intake
from services.review.pages import review_pages
from services.review.sessions import Sessions
from services.review.settings import Settings
from services.review.store.arrivals import Arrivals
from services.review.store.budgets import Budgets
from services.review.store.comparisons import Comparisons
from services.review.store.queue import Queue
from services.review.store.secrets import KeptSecrets
from services.review.store.statistics import Statistics
from services.review.store.tables import review_tables
from shared.events import Outbox, Sender
from shared.privacy import Personal
from shared.rules import RouteBook
from shared.service import Service
from shared.storage import BlobStore, Database


@dataclass(frozen=True)
class Parts:
    housekeeping: Housekeeping
    desk: Desk
    comparisons: Comparisons


def build(settings: Settings, sender: Sender | None = None) -> Service[Parts]:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("review", metadata)
    routes = RouteBook(metadata)
    tables = review_tables(metadata)
    arrivals = Arrivals(tables, settings.skip_seconds)
    budgets = Budgets(tables)
    queue = Queue(db, tables, routes, settings.claim_seconds, settings.skip_seconds)
    statistics = Statistics(db, tables)
    secret = settings.session_secret
    secrets = KeptSecrets(db, tables, secret.get_secret_value() if secret else None)
    sessions = Sessions(secrets, settings.session_hours)
    salt = settings.salt.get_secret_value()
    intake = Intake(arrivals, budgets, routes, outbox, salt, settings.keep_days)
    blobs = BlobStore(settings.artifacts_url)
    desk = Desk(db, queue, outbox, blobs, Personal(settings.surrogate_secret), salt)
    comparisons = Comparisons(db, tables, settings.claim_seconds, settings.skip_seconds)
    comparing = Comparing(db, comparisons, outbox, blobs)
    housekeeping = Housekeeping(db, arrivals, budgets, comparisons, settings.keep_days)
    service = Service(
        "review",
        settings,
        metadata,
        handlers={
            topics.INFERENCE_RECORDED: intake.on_inference_recorded,
            topics.REVIEW_REQUESTED: intake.on_review_requested,
            topics.FEEDBACK_RECORDED: intake.on_feedback_recorded,
            topics.DRIFT_DETECTED: intake.on_drift_detected,
            topics.ROUTE_CHANGED: intake.on_route_changed,
            topics.COMPARISON_REQUESTED: comparing.on_comparison_requested,
            topics.ADAPTER_EVALUATED: comparing.on_adapter_evaluated,
        },
        http=[
            review_api(db, desk, queue, statistics, comparisons),
            comparisons_api(comparing),
            review_pages(db, desk, queue, statistics, routes, sessions),
        ],
        db=db,
        outbox=outbox,
        parts=Parts(housekeeping, desk, comparisons),
        workers=[housekeeping.run],
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )
    service.api.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    service.api.add_middleware(SecurityHeaders)
    service.api.state.visitor = sessions.visitor
    return service

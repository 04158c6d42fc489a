"""The composition root of the router: settings in, a runnable service out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import MetaData

from schemas import topics
from services.router.advice import Advice
from services.router.api import chat_api
from services.router.breakers import Breakers
from services.router.canary import Canaries
from services.router.chain import Chain
from services.router.chat import ChatLimits
from services.router.elsewhere import elsewhere_api
from services.router.fleet import Fleet
from services.router.gateway import Gateway
from services.router.handlers import RouteHandlers
from services.router.label_tokens import LabelTokens
from services.router.openai_route import refusal
from services.router.reconcile import Reconciler
from services.router.repeats import Repeats
from services.router.rollout import CanaryRule
from services.router.routes_api import routes_api
from services.router.settings import Settings
from services.router.shelf import Shelf
from services.router.store.recorder import Recorder
from services.router.store.repeats import RepeatStore
from services.router.store.routes import RouteDatabase
from services.router.store.views import RouteViews
from services.router.table import RouteTable
from services.router.turns import Turns
from services.router.upstream import Upstream
from shared.events import Outbox, Sender
from shared.rules import redact
from shared.service import Service
from shared.storage import BlobStore, Database


@dataclass(frozen=True)
class Parts:
    """What tests and tools reach."""

    routes: RouteDatabase
    table: RouteTable
    fleet: Fleet
    upstream: Upstream


def build(settings: Settings, sender: Sender | None = None) -> Service[Parts]:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("router", metadata)
    blobs = BlobStore(settings.artifacts_url)
    routes = RouteDatabase(metadata, outbox)
    table = RouteTable(db, RouteViews(routes.tables))
    fleet = Fleet()
    upstream = Upstream(settings.vllm_url, settings.vllm_timeout, settings.vllm_at_once)
    kept = RepeatStore(routes.tables.repeats, routes.tables.decisions)
    recorder = Recorder(db, outbox, routes.tables.decisions, kept, blobs, redact)
    repeats = Repeats(db, kept)
    turns = Turns(settings.vllm_at_once, settings.vllm_waiting, settings.vllm_timeout)
    breakers = Breakers()
    chain = Chain(fleet, upstream, breakers, settings.base_model, settings.vllm_timeout)
    gateway = Gateway(table, chain, recorder, turns)
    rule = CanaryRule(settings.canary_share, settings.canary_requests, settings.canary_seconds)
    handlers = RouteHandlers(routes, rule)
    reconciler = Reconciler(
        table=table,
        fleet=fleet,
        upstream=upstream,
        shelf=Shelf(blobs, settings.adapter_cache),
        base_model=settings.base_model,
        most=settings.max_loaded,
        every=settings.reconcile_seconds,
        drain=settings.drain_seconds,
    )
    advice = Advice(LabelTokens(upstream, settings.base_model))
    limits = ChatLimits(settings.max_messages, settings.max_characters)
    service = Service(
        name="router",
        settings=settings,
        metadata=metadata,
        handlers={
            topics.ADAPTER_EVALUATED: handlers.on_adapter_evaluated,
            topics.CALIBRATION_FITTED: routes.on_calibration_fitted,
            topics.REVIEW_COMPLETED: handlers.on_review_completed,
        },
        http=[
            chat_api(table, gateway, repeats, limits),
            routes_api(db, routes, table, fleet, advice),
            elsewhere_api(),
        ],
        db=db,
        outbox=outbox,
        parts=Parts(routes, table, fleet, upstream),
        workers=[
            table.watch,
            reconciler.run,
            Canaries(db, table, fleet, routes, rule).run,
            repeats.tidy,
        ],
        sender=sender,
        report=lambda: fleet.report() | {"resting": breakers.resting()},
        on_stop=[upstream.close],
        migrations=Path(__file__).with_name("migrations"),
    )
    service.api.state.refusal = refusal
    return service

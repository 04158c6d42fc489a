"""The composition root of the router: settings in, a runnable service out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import MetaData

from schemas import topics
from schemas.base import JsonObject
from services.router.advice import Advice
from services.router.api import ChatApi, called_directly, chat_api
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
from services.router.other_upstreams import OtherUpstreams
from services.router.passing import Passing
from services.router.probation import Probation
from services.router.reconcile import Reconciler
from services.router.recordings import Recordings
from services.router.redacting import Redacting
from services.router.repeats import Repeats
from services.router.rollout import CanaryRule
from services.router.routes_api import RoutesApi, routes_api
from services.router.settings import Settings
from services.router.shadows import Shadows
from services.router.shelf import Shelf
from services.router.store.recorder import Recorder
from services.router.store.repeats import RepeatStore
from services.router.store.routes import RouteDatabase
from services.router.store.shadows import ShadowStore
from services.router.store.trials import Trials
from services.router.store.views import RouteViews
from services.router.store.waiting import Waiting
from services.router.table import RouteTable
from services.router.tracing import tracing_to
from services.router.turns import Turns
from services.router.upstream import Upstream
from services.router.upstream_settings import upstreams_in
from shared.events import Outbox, Sender
from shared.privacy import Personal
from shared.service import Service
from shared.storage import BlobStore, Database


@dataclass(frozen=True)
class Parts:
    """What tests and tools reach."""

    routes: RouteDatabase
    table: RouteTable
    fleet: Fleet
    upstream: Upstream
    passing: Passing
    shadows: Shadows


def build(settings: Settings, sender: Sender | None = None) -> Service[Parts]:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("router", metadata)
    blobs = BlobStore(settings.artifacts_url)
    routes = RouteDatabase(metadata, outbox)
    table = RouteTable(db, RouteViews(routes.tables))
    fleet = Fleet()
    at_once = -(-settings.vllm_at_once // settings.workers)
    upstream = Upstream(settings.vllm_url, settings.vllm_timeout, at_once)
    kept = RepeatStore(routes.tables.repeats, routes.tables.decisions)
    redacting = Redacting(table, Personal(settings.surrogate_secret)).of
    recorder = Recorder(db, outbox, routes.tables.decisions, kept, blobs, redacting)
    repeats = Repeats(db, kept)
    turns = Turns(at_once, settings.vllm_waiting, settings.vllm_timeout)
    breakers = Breakers()
    chain = Chain(fleet, upstream, breakers, settings.base_model, settings.vllm_timeout)
    beside = ShadowStore(db, routes.tables)
    gateway = Gateway(table, chain, recorder, turns, Shadows(chain, turns, beside, redacting))
    rule = CanaryRule(settings.canary_share, settings.canary_requests, settings.canary_seconds)
    handlers = RouteHandlers(routes, beside, rule)
    trials = Trials(routes.tables)
    waiting = Waiting(db, routes.tables.waiting)
    canaries = Canaries(db, table, fleet, routes, rule, waiting, trials, beside)
    probation = Probation(db, table, routes, trials, beside, settings.rollback_freeze_hours)
    reconciler = reconciler_by(settings, table, fleet, upstream, blobs)
    passing = passing_by(settings, table, recorder)
    advice = advice_by(settings, upstream)
    limits = ChatLimits(settings.max_messages, settings.max_characters)
    chat = ChatApi(table, gateway, repeats, limits, passing)
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
            chat_api(chat),
            routes_api(RoutesApi(db, routes, table, fleet, advice, canaries, probation)),
            elsewhere_api(),
        ],
        db=db,
        outbox=outbox,
        parts=Parts(routes, table, fleet, upstream, passing, gateway.shadows),
        workers=[table.watch, reconciler.run, canaries.run, probation.run, repeats.tidy],
        sender=sender,
        report=partial(reported, fleet, breakers, advice, table, passing.upstreams),
        on_stop=[passing.close, gateway.shadows.close, recorder.flush, upstream.close],
        migrations=Path(__file__).with_name("migrations"),
    )
    service.api.state.refusal = refusal
    service.api.state.direct = called_directly(chat)
    return service


def reconciler_by(
    settings: Settings, table: RouteTable, fleet: Fleet, upstream: Upstream, blobs: BlobStore
) -> Reconciler:
    return Reconciler(
        table=table,
        fleet=fleet,
        upstream=upstream,
        shelf=Shelf(blobs, settings.adapter_cache),
        base_model=settings.base_model,
        most=settings.max_loaded,
        every=settings.reconcile_seconds,
        drain=settings.drain_seconds,
    )


def advice_by(settings: Settings, upstream: Upstream) -> Advice:
    return Advice(
        LabelTokens(upstream, settings.base_model),
        upstream.grammar,
        makes_surrogates=settings.surrogate_secret is not None,
        template_arguments=settings.template_arguments,
    )


def passing_by(settings: Settings, table: RouteTable, recorder: Recorder) -> Passing:
    others = OtherUpstreams(upstreams_in(settings.upstreams_file))
    return Passing(table, others, Recordings(recorder), tracing_to(settings.otel_endpoint))


def reported(
    fleet: Fleet, breakers: Breakers, advice: Advice, table: RouteTable, others: OtherUpstreams
) -> JsonObject:
    """Return what `/health/ready` says of the router alone."""
    held = advice.report(table.views.values())
    more = {"resting": breakers.resting(), "other_upstreams": others.state}
    return fleet.report() | more | held

"""The composition root of the router: settings in, a runnable service out."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import MetaData

from services.router import api, handlers, routes_api
from services.router.adapters.shelf import DiskShelf
from services.router.adapters.vllm import Vllm
from services.router.canary import Canaries
from services.router.chat import Limits
from services.router.fleet import Fleet
from services.router.gateway import Gateway
from services.router.ports import Upstream
from services.router.reconcile import Reconciler
from services.router.rollout import CanaryRule
from services.router.settings import Settings
from services.router.store.recorder import DecisionRecorder
from services.router.store.routes import RouteDatabase
from services.router.table import RouteTable
from shared.events.outbox import Outbox, Sender
from shared.rules.redaction import redact
from shared.service import Service
from shared.storage.blobs import BlobStore
from shared.storage.db import Database


def build(
    settings: Settings, sender: Sender | None = None, upstream: Upstream | None = None
) -> Service:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("router", metadata)
    blobs = BlobStore(settings.artifacts_url)
    routes = RouteDatabase(metadata, outbox)
    table = RouteTable(db, routes)
    fleet = Fleet()
    upstream = upstream or Vllm(settings.vllm_url, settings.vllm_timeout)
    recorder = DecisionRecorder(db, outbox, routes.tables, blobs, redact)
    gateway = Gateway(table, fleet, upstream, recorder, settings.base_model)
    rule = CanaryRule(settings.canary_share, settings.canary_requests, settings.canary_seconds)
    reconciler = Reconciler(
        table,
        fleet,
        upstream,
        DiskShelf(blobs, settings.adapter_cache),
        settings.base_model,
        most=settings.max_loaded,
        every=settings.reconcile_seconds,
        drain=settings.drain_seconds,
    )
    return Service(
        name="router",
        settings=settings,
        metadata=metadata,
        events=handlers.router,
        http=[api.router, routes_api.router],
        db=db,
        outbox=outbox,
        context={
            "routes": routes,
            "decisions": routes,
            "table": table,
            "fleet": fleet,
            "gateway": gateway,
            "canary_rule": rule,
            "limits": Limits(settings.max_messages, settings.max_characters),
        },
        workers=[table.watch, reconciler.run, Canaries(db, table, fleet, routes, rule).run],
        sender=sender,
        report=fleet.report,
        on_stop=[upstream.close],
        migrations=Path(__file__).with_name("migrations"),
    )

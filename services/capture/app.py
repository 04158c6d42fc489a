"""The composition root of capture: settings in, a runnable service out."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import MetaData

from services.capture import api, handlers
from services.capture.intake import Intake, Limits
from services.capture.settings import Settings
from services.capture.store import DatabaseLedger
from shared.events.outbox import Outbox, Sender
from shared.rules.routes import RouteBook
from shared.service import Service
from shared.storage.blobs import BlobStore
from shared.storage.db import Database


def build(settings: Settings, sender: Sender | None = None) -> Service:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("capture", metadata)
    routes = RouteBook(metadata)
    ledger = DatabaseLedger(db, metadata, outbox, routes, settings.disk_budget_bytes)
    intake = Intake(
        ledger,
        BlobStore(settings.artifacts_url),
        Limits(settings.max_items, settings.max_unpacked_bytes),
    )
    return Service(
        "capture",
        settings,
        metadata,
        handlers.router,
        [api.router],
        db,
        outbox,
        {"routes": routes, "intake": intake},
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )

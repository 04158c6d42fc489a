"""Composition root of capture: settings in, a runnable service out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import MetaData

from schemas import topics
from services.capture.api import capture_api
from services.capture.intake import Intake, IntakeLimits
from services.capture.mapping import load_mappings
from services.capture.settings import Settings
from services.capture.sources import Source
from services.capture.store import Ledger
from services.capture.tally import Tally
from shared.events import Outbox, Sender
from shared.privacy import Personal
from shared.rules import RouteBook
from shared.service import Service
from shared.storage import BlobStore, Database


@dataclass(frozen=True)
class Parts:
    intake: Intake


def build(settings: Settings, sender: Sender | None = None) -> Service[Parts]:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("capture", metadata)
    routes = RouteBook(metadata)
    ledger = Ledger(db, metadata, outbox, routes)
    limits = IntakeLimits(settings.max_items, settings.max_unpacked_bytes)
    blobs = BlobStore(settings.artifacts_url)
    tally = Tally()
    personal = Personal(settings.surrogate_secret)
    intake = Intake(ledger, blobs, personal, limits, tally)
    mappings = load_mappings(settings.sources) if settings.sources else []
    return Service(
        "capture",
        settings,
        metadata,
        handlers={topics.ROUTE_CHANGED: routes.on_route_changed},
        http=[capture_api(intake)],
        db=db,
        outbox=outbox,
        parts=Parts(intake),
        takers=[Source(mapping, ledger, blobs, personal, tally) for mapping in mappings],
        report=lambda: {"sources": {mapping.topic: mapping.route for mapping in mappings}},
        sender=sender,
        migrations=Path(__file__).with_name("migrations"),
    )

"""Composition root of review: settings, adapters, wiring; nothing else."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import MetaData
from starlette.staticfiles import StaticFiles

from services.review import api, handlers, pages
from services.review.adapters.contents import BlobContents
from services.review.desk import Desk
from services.review.headers import SecurityHeaders
from services.review.intake import Intake
from services.review.sessions import Sessions
from services.review.settings import Settings
from services.review.store.arrivals import SqlArrivals
from services.review.store.housekeeping import Housekeeping
from services.review.store.queue import SqlQueue
from services.review.store.secrets import KeptSecrets
from services.review.store.statistics import SqlStatistics
from services.review.store.tables import review_tables
from shared.events.outbox import Outbox, Sender
from shared.rules.routes import RouteBook
from shared.service import Service
from shared.storage.blobs import BlobStore
from shared.storage.db import Database


def build(settings: Settings, sender: Sender | None = None) -> Service:
    metadata = MetaData()
    db = Database(settings.database_url)
    outbox = Outbox("review", metadata)
    routes = RouteBook(metadata)
    tables = review_tables(metadata)
    arrivals = SqlArrivals(tables)
    queue = SqlQueue(db, tables, routes, settings.claim_seconds)
    contents = BlobContents(BlobStore(settings.artifacts_url))
    housekeeping = Housekeeping(db, arrivals, settings.keep_days)
    secret = settings.session_secret
    context = {
        "intake": Intake(arrivals, routes, settings.salt.get_secret_value()),
        "desk": Desk(db, queue, outbox, contents),
        "statistics": SqlStatistics(db, tables),
        "sessions": Sessions(
            KeptSecrets(db, tables, secret.get_secret_value() if secret else None),
            settings.session_hours,
        ),
        "routes": routes,
    }
    rooms = [api.router, pages.router]
    service = Service(
        "review",
        settings,
        metadata,
        handlers.router,
        rooms,
        db,
        outbox,
        context,
        [housekeeping.run],
        sender,
        migrations=Path(__file__).with_name("migrations"),
    )
    service.api.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    service.api.add_middleware(SecurityHeaders)
    return service

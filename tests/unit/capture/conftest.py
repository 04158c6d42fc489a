"""A capture service over a real database, without a broker: its HTTP side, its tables, and what it
would publish.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas import topics
from services.capture.app import Parts, build
from services.capture.settings import Settings
from shared.events.sending import Delivery, OutboxRow, Place
from shared.service import Service
from tests import factories

ROUTES = ("acme/support-triage", "acme/other", "globex/support-triage")


class Published:
    """A sender that keeps what it is given."""

    def __init__(self) -> None:
        self.rows: list[OutboxRow] = []

    async def send(self, rows: Any) -> Delivery:
        self.rows += rows
        return Delivery({row.seq: Place(0, row.seq) for row in rows})

    async def close(self) -> None: ...


@dataclass
class Capture:
    service: Service[Parts]
    http: httpx.AsyncClient
    keys: dict[str, str]

    async def post(
        self, path: str, body: Any, tenant: str = "acme", **headers: str
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(
            path,
            content=content,
            headers={"authorization": f"Bearer {self.keys[tenant]}"} | headers,
        )

    async def events(self) -> list[dict[str, Any]]:
        await self.service.relay.find_losses()  # as the relay does before its first batch
        self.service.relay.lanes._holds.clear()  # and no pause after a failure
        while await self.service.relay.drain_once():
            pass
        rows = sorted(self.service.sender.rows, key=lambda row: row.seq)
        return [json.loads(row.payload or b"") for row in rows]


async def serve(
    url: str, keys: dict[str, str], folder: Path, sender: Published | None = None, **changes: Any
) -> Service[Parts]:
    settings = Settings(
        database_url=url,
        keys_file=keys["file"],
        artifacts_url=f"file://{folder}/artifacts",
        **({"surrogate_secret": factories.SURROGATE_SECRET} | changes),
    )
    service = build(settings, sender=sender or Published())
    await service.db.create_tables(service.metadata)
    async with service.db.transaction() as tx:
        for route in ROUTES:
            event = factories.route_changed(
                tenant=route.split("/")[0], route=route, spec=factories.spec(name=route)
            )
            await service.handlers[topics.ROUTE_CHANGED](tx, event)
    return service


@pytest.fixture
async def capture(
    database_url: str, keys: dict[str, str], tmp_path: Path
) -> AsyncIterator[Capture]:
    service = await serve(database_url, keys, tmp_path)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(service.api), base_url="http://capture"
    ) as http:
        yield Capture(service, http, keys)
    await service.db.close()


@pytest.fixture
async def small(tmp_path: Path, keys: dict[str, str]) -> AsyncIterator[Capture]:
    """On SQLite alone: for what the database has no part in."""
    service = await serve(f"sqlite+aiosqlite:///{tmp_path}/capture.db", keys, tmp_path)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(service.api), base_url="http://capture"
    ) as http:
        yield Capture(service, http, keys)
    await service.db.close()

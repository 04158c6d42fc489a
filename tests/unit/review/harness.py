"""Review as its tests use it: give it events, see what it said, talk to it over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from schemas.base import Event
from schemas.events import (
    DriftDetected,
    FeedbackRecorded,
    InferenceRecorded,
    ReviewCompleted,
    ReviewRequested,
    RouteChanged,
)
from services.review import handlers
from shared.http.auth import Keyring, new_key
from shared.service import Service

HANDLERS = {
    InferenceRecorded: handlers.on_inference_recorded,
    ReviewRequested: handlers.on_review_requested,
    FeedbackRecorded: handlers.on_feedback_recorded,
    DriftDetected: handlers.on_drift_detected,
    RouteChanged: handlers.on_route_changed,
}


@dataclass
class Review:
    service: Service
    keys: dict[str, str]

    async def hears(self, *events: Event) -> None:
        for event in events:
            async with self.service.db.transaction() as tx:
                await HANDLERS[type(event)](event, tx=tx, intake=self.service.context["intake"])

    async def said(self) -> list[ReviewCompleted]:
        table = self.service.outbox.table
        async with self.service.db.read() as connection:
            rows = await connection.execute(select(table.c.payload).order_by(table.c.seq))
            return [ReviewCompleted.model_validate_json(row.payload) for row in rows]

    async def items(self) -> list[Any]:
        table = self.service.metadata.tables["items"]
        async with self.service.db.read() as connection:
            return list(await connection.execute(select(table)))

    def client(self, tenant: str = "acme", secret: str | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.service.api),
            base_url="http://review",
            headers={"authorization": f"Bearer {secret or self.keys[tenant]}"},
        )


def add_key(review: Review, name: str, tenant: str, scopes: set[str]) -> str:
    secret, record = new_key(name, tenant, scopes)  # type: ignore[arg-type]
    path = Path(review.keys["file"])
    path.write_text(
        json.dumps(
            {"keys": [*json.loads(path.read_text())["keys"], record.model_dump(mode="json")]}
        )
    )
    review.service.api.state.keyring = Keyring(path)
    return secret

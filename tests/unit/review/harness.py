"""Review as its tests use it: give it events, see what it said, talk to it over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from schemas.base import Event
from schemas.events import ReviewCompleted
from schemas.topics import topic_of
from services.review.app import Parts
from shared.http.auth import Keyring, new_key
from shared.service import Service


@dataclass
class Review:
    service: Service[Parts]
    keys: dict[str, str]

    async def hears(self, *events: Event) -> None:
        for event in events:
            async with self.service.db.transaction() as tx:
                await self.service.handlers[topic_of(type(event))](tx, event)

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

"""HTTP in: what was trained, and from what. The jobs are shown by `shared.jobs.api`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends

from schemas.base import JsonObject
from services.trainer.store import Adapters
from shared.http import Id, Limit, Offset, Principal, Wanted, page, require
from shared.jobs import Job
from shared.storage import Database

Reader = Annotated[Principal, Depends(require("read"))]


@dataclass(frozen=True)
class AdaptersApi:
    db: Database
    adapters: Adapters

    async def list_adapters(
        self, who: Reader, route: Wanted = None, offset: Offset = 0, limit: Limit = 50
    ) -> JsonObject:
        async with self.db.read() as connection:
            found = await self.adapters.page(connection, who.tenant, route, limit, offset)
        return page([event.model_dump(mode="json") for event in found], offset, limit)

    async def show_adapter(self, adapter_id: Id, who: Reader) -> JsonObject:
        async with self.db.read() as connection:
            event = await self.adapters.get(connection, who.tenant, adapter_id)
        return event.model_dump(mode="json")


def adapters_api(db: Database, adapters: Adapters) -> APIRouter:
    """Make the endpoints that show what was trained."""
    api = AdaptersApi(db, adapters)
    router = APIRouter(prefix="/v1", tags=["training"])
    router.get("/adapters")(api.list_adapters)
    router.get("/adapters/{adapter_id}")(api.show_adapter)
    return router


def described(job: Job) -> JsonObject:
    """Return what a training is about, beside what every job shows."""
    return {name: job.payload[name] for name in ("dataset_id", "recipe")}

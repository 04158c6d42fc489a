"""HTTP in: datasets and their rows, how near a route is to its next dataset, and the command to
build one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends

from schemas.base import BlobRef, JsonObject
from services.dataset_builder.ledger import Ledger
from services.dataset_builder.readiness import Readiness
from services.dataset_builder.store.datasets import DatasetStore
from shared.http import (
    Id,
    Limit,
    Offset,
    Principal,
    Reason,
    RequestBody,
    Wanted,
    page,
    require,
)
from shared.jobs import Job
from shared.rules import RouteUnknown
from shared.storage import BlobStore, Database

Reader = Annotated[Principal, Depends(require("read"))]
Admin = Annotated[Principal, Depends(require("admin"))]
Split = Literal["train", "validation", "test", "audit"]
ReadRows = Callable[[BlobStore, BlobRef, JsonObject, str, int, int], list[JsonObject]]
"""Reads a page of one split: store, folder, manifest, split, offset, limit."""


class BuildCommand(RequestBody):
    reason: Reason


@dataclass(frozen=True)
class DatasetsApi:
    """One method per endpoint; every answer stays within the caller's tenant."""

    db: Database
    datasets: DatasetStore
    ledger: Ledger
    readings: Readiness
    blobs: BlobStore
    read_rows: ReadRows

    async def list_datasets(
        self,
        principal: Reader,
        route: Wanted = None,
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> JsonObject:
        """Dataset versions, newest first."""
        if route is not None and not route.startswith(f"{principal.tenant}/"):
            raise RouteUnknown(route)
        async with self.db.read() as connection:
            found = await self.datasets.page(connection, principal.tenant, route, offset, limit)
        return page(found, offset, limit)

    async def show_dataset(self, principal: Reader, dataset_id: Id) -> JsonObject:
        """Return a version: the event that announced it, and its manifest."""
        async with self.db.read() as connection:
            found = await self.datasets.get(connection, principal.tenant, dataset_id)
        return {"event": found.event.model_dump(mode="json"), "manifest": found.manifest}

    async def list_rows(
        self,
        principal: Reader,
        dataset_id: Id,
        split: Split = "train",
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> JsonObject:
        """Return the rows of one split, each with its reviewer."""
        async with self.db.read() as connection:
            found = await self.datasets.get(connection, principal.tenant, dataset_id)
        rows = await asyncio.to_thread(
            self.read_rows, self.blobs, found.event.blob, found.manifest, split, offset, limit
        )
        return page(rows, offset, limit)

    async def readiness(self, principal: Reader, tenant: Id, name: Id) -> JsonObject:
        """Say how many verdicts the next dataset still needs, label by label.

        Also why the last build was refused.
        """
        route = owned(principal, tenant, name)
        async with self.db.read() as connection:
            return await self.readings.of_route(connection, route)

    async def build_dataset(
        self, principal: Admin, tenant: Id, name: Id, command: BuildCommand
    ) -> JsonObject:
        """Build now, whatever the route's rule says. The minimum for the task still holds."""
        route = owned(principal, tenant, name)
        because = f"asked for by {principal.name}: {command.reason}"
        async with self.db.transaction() as tx:
            build = await self.ledger.command(tx, route, because)
        return {"route": route, "build": build, "state": "queued"}


def datasets_api(
    db: Database,
    datasets: DatasetStore,
    ledger: Ledger,
    readings: Readiness,
    blobs: BlobStore,
    read_rows: ReadRows,
) -> APIRouter:
    api = DatasetsApi(db, datasets, ledger, readings, blobs, read_rows)
    router = APIRouter(tags=["datasets"])
    router.get("/v1/datasets")(api.list_datasets)
    router.get("/v1/datasets/{dataset_id}")(api.show_dataset)
    router.get("/v1/datasets/{dataset_id}/rows")(api.list_rows)
    router.get("/v1/routes/{tenant}/{name}/readiness")(api.readiness)
    router.post("/v1/routes/{tenant}/{name}/datasets", status_code=202)(api.build_dataset)
    return router


def owned(principal: Principal, tenant: str, name: str) -> str:
    """Return the route, if it is the caller's; another tenant's routes do not exist for them."""
    if tenant != principal.tenant:
        raise RouteUnknown(f"{tenant}/{name}")
    return f"{tenant}/{name}"


def described(job: Job) -> JsonObject:
    """Say what a build is about, beside what every job shows."""
    return {name: job.payload[name] for name in ("build", "because")}

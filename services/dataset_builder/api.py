"""HTTP in: datasets and their rows, how near a route is to its next dataset, and the command to
build one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from schemas.base import BlobRef, JsonObject
from services.dataset_builder.ledger import Ledger
from services.dataset_builder.manifest import LOST_FILE, file_of
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
from shared.privacy import redact
from shared.rules import RouteUnknown
from shared.storage import BlobStore, Database

Reader = Annotated[Principal, Depends(require("read"))]
Admin = Annotated[Principal, Depends(require("admin"))]
Split = Literal["train", "validation", "test", "audit"]
ReadRows = Callable[[BlobStore, BlobRef, JsonObject, str, int, int], list[JsonObject]]
"""Reads a page of one split: store, folder, manifest, split, offset, limit."""
ReadLost = Callable[[BlobStore, BlobRef, str | None, int, int], list[JsonObject]]
"""Reads a page of the lost verdicts: store, file, reason, offset, limit."""


class BuildCommand(RequestBody):
    reason: Reason
    accept_losses: bool = False


@dataclass(frozen=True)
class DatasetsApi:
    """One method per endpoint; every answer stays within the caller's tenant."""

    db: Database
    datasets: DatasetStore
    ledger: Ledger
    readings: Readiness
    blobs: BlobStore
    read_rows: ReadRows
    read_lost: ReadLost

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

    async def list_lost(
        self,
        principal: Reader,
        dataset_id: Id,
        reason: Annotated[str | None, Query(max_length=64)] = None,
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> JsonObject:
        """Return the verdicts that a version is not trained on: why, and what each gave way to."""
        async with self.db.read() as connection:
            found = await self.datasets.get(connection, principal.tenant, dataset_id)
        # a dataset of release 0.1 has none
        if LOST_FILE not in found.manifest["files"]:
            return page([], offset, limit)
        file = file_of(found.event.blob, found.manifest, LOST_FILE)
        return await self._lost(file, reason, offset, limit)

    async def list_lost_of_route(
        self,
        principal: Reader,
        tenant: Id,
        name: Id,
        reason: Annotated[str | None, Query(max_length=64)] = None,
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> JsonObject:
        """Return the verdicts that a route's last build left out, also where it was refused."""
        route = owned(principal, tenant, name)
        async with self.db.read() as connection:
            await self.ledger.routes.get(connection, route)
            state = await self.ledger.builds.get(connection, route)
        if state and state.refusal and state.refusal.lost:
            return await self._lost(state.refusal.lost, reason, offset, limit)
        if state and state.dataset_id:
            return await self.list_lost(principal, state.dataset_id, reason, offset, limit)
        return page([], offset, limit)

    async def _lost(self, file: BlobRef, reason: str | None, offset: int, limit: int) -> JsonObject:
        rows = await asyncio.to_thread(self.read_lost, self.blobs, file, reason, offset, limit)
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
        because = f"asked for by {principal.name}: {redact(command.reason)}"
        async with self.db.transaction() as tx:
            build = await self.ledger.command(tx, route, because, command.accept_losses)
        return {"route": route, "build": build, "state": "queued"}


def datasets_api(
    db: Database,
    datasets: DatasetStore,
    ledger: Ledger,
    readings: Readiness,
    blobs: BlobStore,
    read_rows: ReadRows,
    read_lost: ReadLost,
) -> APIRouter:
    api = DatasetsApi(db, datasets, ledger, readings, blobs, read_rows, read_lost)
    router = APIRouter(tags=["datasets"])
    router.get("/v1/datasets")(api.list_datasets)
    router.get("/v1/datasets/{dataset_id}")(api.show_dataset)
    router.get("/v1/datasets/{dataset_id}/rows")(api.list_rows)
    router.get("/v1/datasets/{dataset_id}/lost")(api.list_lost)
    router.get("/v1/routes/{tenant}/{name}/readiness")(api.readiness)
    router.get("/v1/routes/{tenant}/{name}/lost")(api.list_lost_of_route)
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

"""HTTP in: datasets and their rows, how near a route is to its next dataset, and the command to
build one.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from shared.http.auth import Principal, require
from shared.jobs.worker import Job
from shared.rules.routes import RouteUnknown

router = APIRouter(tags=["datasets"])
Reader = Annotated[Principal, Depends(require("read"))]
Admin = Annotated[Principal, Depends(require("admin"))]
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=200)]
Split = Literal["train", "validation", "test", "audit"]


class BuildCommand(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=300)


def page(items: list[dict[str, Any]], offset: int, limit: int) -> dict[str, Any]:
    return {"items": items, "next": offset + limit if len(items) == limit else None}


def owned(principal: Principal, tenant: str, name: str) -> str:
    """The route, if it is the caller's; another tenant's routes do not exist for them."""
    if tenant != principal.tenant:
        raise RouteUnknown(f"{tenant}/{name}")
    return f"{tenant}/{name}"


@router.get("/v1/datasets")
async def list_datasets(
    request: Request,
    principal: Reader,
    route: str | None = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Dataset versions, newest first."""
    if route is not None and not route.startswith(f"{principal.tenant}/"):
        raise RouteUnknown(route)
    async with request.app.state.db.read() as connection:
        return page(
            await request.app.state.views.datasets(
                connection, principal.tenant, route, offset, limit
            ),
            offset,
            limit,
        )


@router.get("/v1/datasets/{dataset_id}")
async def show_dataset(request: Request, principal: Reader, dataset_id: str) -> dict[str, Any]:
    """A version: the event that announced it, and its manifest."""
    async with request.app.state.db.read() as connection:
        event, manifest = await request.app.state.views.dataset(
            connection, principal.tenant, dataset_id
        )
    return {"event": event.model_dump(mode="json"), "manifest": manifest}


@router.get("/v1/datasets/{dataset_id}/rows")
async def list_rows(
    request: Request,
    principal: Reader,
    dataset_id: str,
    split: Split = "train",
    offset: Offset = 0,
    limit: Limit = 50,
) -> dict[str, Any]:
    """The rows of one split, each with its reviewer."""
    async with request.app.state.db.read() as connection:
        event, manifest = await request.app.state.views.dataset(
            connection, principal.tenant, dataset_id
        )
    rows = await asyncio.to_thread(
        request.app.state.read_rows,
        request.app.state.blobs,
        event.blob,
        manifest,
        split,
        offset,
        limit,
    )
    return page(rows, offset, limit)


@router.get("/v1/routes/{tenant}/{name}/readiness")
async def readiness(request: Request, principal: Reader, tenant: str, name: str) -> dict[str, Any]:
    """How many verdicts the next dataset still needs, label by label, and why the last build was
    refused.
    """
    route = owned(principal, tenant, name)
    async with request.app.state.db.read() as connection:
        return await request.app.state.views.readiness(connection, route)


@router.post("/v1/routes/{tenant}/{name}/datasets", status_code=202)
async def build_dataset(
    request: Request, principal: Admin, tenant: str, name: str, command: BuildCommand
) -> dict[str, Any]:
    """Build now, whatever the route's rule says. The minimum for the task still holds."""
    route = owned(principal, tenant, name)
    async with request.app.state.db.transaction() as tx:
        build = await request.app.state.ledger.command(
            tx, route, f"asked for by {principal.name}: {command.reason}"
        )
    return {"route": route, "build": build, "state": "queued"}


def described(job: Job) -> dict[str, Any]:
    """What a build is about, beside what every job shows."""
    return {name: job.payload[name] for name in ("build", "because")}

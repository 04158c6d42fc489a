"""HTTP in: what was trained, and from what. The jobs are shown by `shared.jobs.api`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from shared.http.auth import Principal, require
from shared.jobs.worker import Job

router = APIRouter(prefix="/v1", tags=["training"])
Reader = Annotated[Principal, Depends(require("read"))]
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("/adapters")
async def list_adapters(
    request: Request, who: Reader, route: str | None = None, offset: Offset = 0, limit: Limit = 50
) -> dict[str, Any]:
    async with request.app.state.db.read() as connection:
        found = await request.app.state.adapters.page(connection, who.tenant, route, limit, offset)
    return {
        "items": [event.model_dump(mode="json") for event in found],
        "next": offset + limit if len(found) == limit else None,
    }


@router.get("/adapters/{adapter_id}")
async def show_adapter(adapter_id: str, request: Request, who: Reader) -> dict[str, Any]:
    async with request.app.state.db.read() as connection:
        return (
            await request.app.state.adapters.get(connection, who.tenant, adapter_id)
        ).model_dump(mode="json")


def described(job: Job) -> dict[str, Any]:
    """What a training is about, beside what every job shows."""
    return {name: job.payload[name] for name in ("dataset_id", "recipe")}

"""HTTP in: what was trained, from what, and how the running jobs do."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from shared.auth import Principal, require
from shared.errors import Conflict, NotFound
from shared.jobs import Job

router = APIRouter(prefix="/v1", tags=["training"])
Reader = Annotated[Principal, Depends(require("read"))]
Admin = Annotated[Principal, Depends(require("admin"))]
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=200)]


class JobUnknown(NotFound):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"no training job '{job_id[:64]}' of this tenant; GET /v1/jobs lists them")


class NotFailed(Conflict):
    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.job_id} is {job.state}: only a failed job can be tried again")


@router.get("/adapters")
async def list_adapters(request: Request, who: Reader, route: str | None = None, offset: Offset = 0, limit: Limit = 50) -> dict[str, Any]:
    async with request.app.state.db.read() as connection:
        found = await request.app.state.adapters.page(connection, who.tenant, route, limit, offset)
    return {"items": [event.model_dump(mode="json") for event in found], "next": offset + limit if len(found) == limit else None}


@router.get("/adapters/{adapter_id}")
async def show_adapter(adapter_id: str, request: Request, who: Reader) -> dict[str, Any]:
    async with request.app.state.db.read() as connection:
        return (await request.app.state.adapters.get(connection, who.tenant, adapter_id)).model_dump(mode="json")


@router.get("/jobs")
async def list_jobs(request: Request, who: Reader, offset: Offset = 0, limit: Limit = 50) -> dict[str, Any]:
    """Trainings, newest first."""
    owned = [job for job in await request.app.state.jobs.all(limit=1000) if job.payload["tenant"] == who.tenant]
    page = owned[offset : offset + limit]
    return {"items": [shown(job) for job in page], "next": offset + limit if len(owned) > offset + limit else None}


@router.get("/jobs/{job_id}")
async def show_job(job_id: str, request: Request, who: Reader) -> dict[str, Any]:
    return shown(await owned_job(request, who, job_id))


@router.post("/jobs/{job_id}/retry", status_code=202)
async def retry_job(job_id: str, request: Request, who: Admin) -> dict[str, Any]:
    """Queue a failed training again, with a fresh count of attempts."""
    job = await owned_job(request, who, job_id)
    async with request.app.state.db.transaction() as tx:
        if not await request.app.state.jobs.requeue(tx, job.job_id):
            raise NotFailed(job)
    return shown(await owned_job(request, who, job_id))


async def owned_job(request: Request, who: Principal, job_id: str) -> Job:
    job = await request.app.state.jobs.get(job_id)
    if job is None or job.payload["tenant"] != who.tenant:
        raise JobUnknown(job_id)
    return job


def shown(job: Job) -> dict[str, Any]:
    return {"job_id": job.job_id, "route": job.payload["route"], "dataset_id": job.payload["dataset_id"], "recipe": job.payload["recipe"],
            "state": job.state, "attempt": job.attempt, "progress": job.progress, "result": job.result, "error": job.error}  # fmt: skip

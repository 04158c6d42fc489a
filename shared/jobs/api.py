"""HTTP in, alike in every service that has jobs: list, show with its attempts, cancel, retry.
Within the caller's tenant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import Conflict, NotFound
from shared.http import Id, Limit, Offset, Principal, Reason, RequestBody, Wanted, require
from shared.jobs.worker import Ended, Job, JobStore
from shared.privacy import redact

Reader = Annotated[Principal, Depends(require("read"))]
Admin = Annotated[Principal, Depends(require("admin"))]
State = Literal["queued", "running", "finished", "failed", "cancelled"]
Describe = Callable[[Job], dict[str, Any]]
Reopen = Callable[[AsyncConnection, Job], Awaitable[None]]


class JobUnknown(NotFound):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job '{job_id[:64]}' of this tenant here; GET /v1/jobs lists them")


class NotCancellable(Conflict):
    def __init__(self, job: Job) -> None:
        super().__init__(
            f"job {job.job_id} is {job.state}: only a queued or running job can be cancelled"
        )


class NotRetryable(Conflict):
    def __init__(self, job: Job) -> None:
        super().__init__(
            f"job {job.job_id} is {job.state}: only a failed or cancelled job can be tried again"
        )


class Command(RequestBody):
    reason: Reason


@dataclass(frozen=True)
class JobsApi:
    """`describe` adds what a service's jobs are about. `ended` is told of a cancelled job, as a
    worker tells it of a failed one; `reopen` may refuse a retry. Both act in the transaction that
    stores it.
    """

    jobs: JobStore
    describe: Describe
    ended: Ended | None = None
    reopen: Reopen | None = None

    async def page(
        self,
        who: Reader,
        state: State | None = None,
        route: Wanted = None,
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        """Newest first; `error` says why one waits, failed or was cancelled.

        `ahead`: how many jobs of this tenant come before a queued one. Tenants take turns.
        """
        found = await self.jobs.page(who.tenant, state, route, limit, offset)
        return {
            "items": [shown(job) | self.describe(job) for job in found],
            "next": offset + limit if len(found) == limit else None,
        }

    async def show_job(self, job_id: Id, who: Reader) -> dict[str, Any]:
        """Return one job, and how each of its attempts ended."""
        job = await self._owned(who, job_id)
        return shown(job) | self.describe(job) | {"history": await self.jobs.history(job_id)}

    async def cancel(self, job_id: Id, command: Command, who: Admin) -> dict[str, Any]:
        """Cancel a job at once: nothing of it will be published.

        Its worker notices at its next renewal (3 s) and stops.
        """
        job = await self._owned(who, job_id)
        reason = f"cancelled by {who.name}: {redact(command.reason)}"
        async with self.jobs.db.transaction() as tx:
            cancelled = await self.jobs.cancel(tx, job_id, reason)
            if cancelled is None:
                raise NotCancellable(job)
            if self.ended:
                await self.ended(tx, cancelled, reason, False)
        return await self.show_job(job_id, who)

    async def retry(self, job_id: Id, command: Command, who: Admin) -> dict[str, Any]:
        """Queue a failed or cancelled job again, with a fresh count of attempts."""
        job = await self._owned(who, job_id)
        async with self.jobs.db.transaction() as tx:
            if (
                await self.jobs.requeue(
                    tx, job_id, f"asked for by {who.name}: {redact(command.reason)}"
                )
                is None
            ):
                raise NotRetryable(job)
            if self.reopen:
                await self.reopen(tx, job)
        return await self.show_job(job_id, who)

    async def _owned(self, who: Principal, job_id: str) -> Job:
        job = await self.jobs.get(job_id)
        if job is None or not job.route.startswith(f"{who.tenant}/"):
            raise JobUnknown(job_id)
        return job


def jobs_api(
    jobs: JobStore, describe: Describe, ended: Ended | None = None, reopen: Reopen | None = None
) -> APIRouter:
    api = JobsApi(jobs, describe, ended, reopen)
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    router.get("")(api.page)
    router.get("/{job_id}", name="show")(api.show_job)
    router.post("/{job_id}/cancel", status_code=202)(api.cancel)
    router.post("/{job_id}/retry", status_code=202)(api.retry)
    return router


def shown(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "route": job.route,
        "tenant": job.tenant,
        "state": job.state,
        "ahead": job.ahead if job.state == "queued" else None,
        "attempt": job.attempt,
        "progress": job.progress,
        "result": job.result,
        "error": job.error,
        "worker": job.worker if job.state == "running" else None,
        "age_seconds": job.age,
        "heartbeat_age_seconds": job.silent if job.state == "running" else None,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
    }

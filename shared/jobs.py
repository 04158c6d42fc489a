"""Durable long work: stored, leased by the database's clock, fenced by a token, done in a child process.

A handler adds a job and returns in milliseconds. A worker claims it, renews the lease while it works, and finishes it in
the transaction that also publishes its event. A worker that lost its lease cannot finish: its token is stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Column, Float, Integer, MetaData, String, Table, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import uuid7
from shared.clock import now
from shared.db import Database, insert_once, timestamp
from shared.errors import RatchetError
from shared.telemetry import log

LEASE_SECONDS = 15.0
RENEW_SECONDS = 3.0
POLL_SECONDS = 0.5
MAX_ATTEMPTS = 4
LONGEST_BACKOFF = 30.0  # seconds between attempts while something the job needs is away


class LeaseLost(RatchetError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} was taken over by another worker; this one must not publish its result")


class JobFailed(RatchetError):
    """The work cannot succeed by trying again (bad data, bad recipe); its message is stored with the job."""


@dataclass(frozen=True)
class Job:
    job_id: str
    kind: str
    key: str
    payload: dict[str, Any]
    state: str
    attempt: int
    token: int
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None


def jobs_table(metadata: MetaData) -> Table:
    return Table("jobs", metadata, Column("job_id", String(36), primary_key=True), Column("kind", String(32), nullable=False),
                 Column("key", String(256), nullable=False, unique=True), Column("payload", JSON, nullable=False),
                 Column("state", String(16), nullable=False, index=True), Column("attempt", Integer, nullable=False),
                 Column("token", Integer, nullable=False), Column("lease_until", Float, nullable=False),
                 Column("progress", JSON, nullable=False), Column("result", JSON), Column("error", String),
                 timestamp("created_at", nullable=False), timestamp("updated_at", nullable=False))  # fmt: skip


class JobStore:
    """States: queued -> running -> finished | failed. `key` is unique: the same work is never queued twice."""

    def __init__(self, db: Database, metadata: MetaData) -> None:
        self.db, self.table = db, jobs_table(metadata)

    async def add(self, tx: AsyncConnection, kind: str, key: str, payload: dict[str, Any]) -> bool:
        return await insert_once(tx, self.table, {
            "job_id": uuid7(), "kind": kind, "key": key, "payload": payload, "state": "queued", "attempt": 0, "token": 0,
            "lease_until": 0.0, "progress": {}, "created_at": now(), "updated_at": now()})  # fmt: skip

    async def claim(self, kind: str) -> Job | None:
        """Take the oldest job that is queued and not backing off, or whose worker stopped renewing its lease."""
        table, clock = self.table, self.db.clock()
        free = and_(table.c.state.in_(("queued", "running")), table.c.lease_until < clock)
        async with self.db.read() as connection:  # polling must not take SQLite's write lock
            if (await connection.execute(select(table.c.job_id).where(table.c.kind == kind, free).limit(1))).first() is None:
                return None
        async with self.db.transaction() as tx:
            oldest = select(table.c.job_id).where(table.c.kind == kind, free).order_by(table.c.job_id).limit(1)
            chosen = oldest.scalar_subquery() if self.db.is_sqlite else oldest.with_for_update(skip_locked=True).scalar_subquery()
            row = (await tx.execute(update(table).where(table.c.job_id == chosen).values(
                state="running", attempt=table.c.attempt + 1, token=table.c.token + 1, lease_until=clock + LEASE_SECONDS,
                updated_at=now()).returning(table))).first()  # fmt: skip
        return as_job(row) if row else None

    async def renew(self, job: Job, progress: dict[str, Any] | None = None) -> None:
        values: dict[str, Any] = {"lease_until": self.db.clock() + LEASE_SECONDS, "updated_at": now()}
        async with self.db.transaction() as tx:
            await self._fenced(tx, job, values | ({"progress": progress} if progress is not None else {}))

    async def finish(self, tx: AsyncConnection, job: Job, result: dict[str, Any]) -> None:
        """Within the transaction that publishes the result; raises LeaseLost, which rolls it back."""
        await self._fenced(tx, job, {"state": "finished", "result": result, "updated_at": now()})

    async def fail(self, tx: AsyncConnection, job: Job, error: str, retry: bool, backoff: float = 0.0) -> None:
        await self._fenced(tx, job, {"state": "queued" if retry else "failed", "error": error[:2000], "updated_at": now(),
                                     "lease_until": self.db.clock() + backoff if backoff else 0.0})  # fmt: skip

    async def requeue(self, tx: AsyncConnection, job_id: str) -> bool:
        """Give a failed job a fresh count of attempts; False when it is not failed."""
        table, values = self.table, {"state": "queued", "attempt": 0, "lease_until": 0.0, "error": None, "updated_at": now()}
        failed = and_(table.c.job_id == job_id, table.c.state == "failed")
        return (await tx.execute(update(table).where(failed).values(**values))).rowcount == 1

    async def get(self, job_id: str) -> Job | None:
        async with self.db.read() as connection:
            row = (await connection.execute(select(self.table).where(self.table.c.job_id == job_id))).first()
        return as_job(row) if row else None

    async def all(self, limit: int = 50) -> list[Job]:
        async with self.db.read() as connection:
            rows = (await connection.execute(select(self.table).order_by(self.table.c.job_id.desc()).limit(limit))).all()
        return [as_job(row) for row in rows]

    async def _fenced(self, tx: AsyncConnection, job: Job, values: dict[str, Any]) -> None:
        table = self.table
        owned = and_(table.c.job_id == job.job_id, table.c.token == job.token, table.c.state == "running")
        if (await tx.execute(update(table).where(owned).values(**values))).rowcount == 0:
            raise LeaseLost(job.job_id)


def as_job(row: Any) -> Job:
    return Job(job_id=row.job_id, kind=row.kind, key=row.key, payload=row.payload, state=row.state, attempt=row.attempt,
               token=row.token, progress=row.progress, result=row.result, error=row.error)  # fmt: skip


Run = Callable[[Job], Awaitable[None]]
Failed = Callable[[AsyncConnection, Job, str, bool], Awaitable[None]]


async def work(store: JobStore, kind: str, run: Run, on_failure: Failed | None = None) -> None:
    """For ever: claim a job and run it. `run` ends with its own transaction that calls `store.finish`.

    `on_failure(tx, job, reason, will_retry)` may publish the failure in the transaction that stores it.
    """
    while True:
        try:
            job = await store.claim(kind)
            if job:
                await run_leased(store, job, run, on_failure)
            else:
                await asyncio.sleep(POLL_SECONDS)
        except Exception as error:  # noqa: BLE001 - a worker must outlive any single job
            log("jobs").error("worker trouble", kind=kind, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(POLL_SECONDS)


async def run_leased(store: JobStore, job: Job, run: Run, on_failure: Failed | None = None) -> None:
    """Run one claimed job while renewing its lease; a lost lease cancels the run."""
    running = asyncio.create_task(_run(store, job, run, on_failure))
    renewing = asyncio.create_task(_renew(store, job))
    try:
        await asyncio.wait({running, renewing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (running, renewing):
            task.cancel()
        ended, _ = await asyncio.gather(running, renewing, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended


async def _renew(store: JobStore, job: Job) -> None:
    """Returns only when the lease was lost."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            await store.renew(job)
        except LeaseLost:
            return


async def _run(store: JobStore, job: Job, run: Run, on_failure: Failed | None) -> None:
    try:
        await run(job)
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001 - the reason is stored with the job, whatever it was
        away = isinstance(error, RatchetError) and error.retryable  # not the job's fault: it waits as long as it takes
        retry = away or (not isinstance(error, JobFailed) and job.attempt < MAX_ATTEMPTS)
        reason = str(error) if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
        log("jobs").error("attempt failed", kind=job.kind, job_id=job.job_id, attempt=job.attempt, retry=retry, error=reason[:500])
        async with store.db.transaction() as tx:
            await store.fail(tx, job, reason, retry, backoff=min(2.0 ** min(job.attempt - 1, 10), LONGEST_BACKOFF) if away else 0.0)
            if on_failure:
                await on_failure(tx, job, reason, retry)

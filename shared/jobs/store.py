"""Stored jobs: leased by the database's clock, fenced by a token, each attempt kept with the way it
ended.

Whoever ends a run of a job (its worker, an operator, the worker that finds it poisonous) does so
in one transaction with the effect. A token that is not the newest can renew, report, fail and
finish nothing.
"""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    MetaData,
    Row,
    and_,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import JsonObject
from shared import failpoints
from shared.clock import now
from shared.jobs.attempts import Attempts
from shared.jobs.reader import JobReader
from shared.jobs.records import OPEN, Job, LeaseLost, as_job, history_table, jobs_table, new_job
from shared.jobs.turns import Turns, turns_table
from shared.storage import Database, insert_once

LEASE_SECONDS = 15.0
MAX_ATTEMPTS = (
    4  # that failed or whose worker died; waiting for something that is away is not counted
)
DIED = "its worker stopped renewing the lease: it was killed, ran out of memory, or was cut off"

# transaction, job, reason, will it be tried again?
Ended = Callable[[AsyncConnection, Job, str, bool], Awaitable[None]]


class JobStore(JobReader):
    """States: queued -> running -> finished | failed | cancelled. `key` is unique: the same work is
    never queued twice.
    """

    def __init__(
        self,
        db: Database,
        metadata: MetaData,
        lease_seconds: float | None = None,
        per_tenant: int | None = None,
    ) -> None:
        super().__init__(db, jobs_table(metadata), history_table(metadata))
        self.attempts = Attempts(db, self.past)
        self.turns = Turns(db, self.table, turns_table(metadata), per_tenant)
        self.lease_seconds = lease_seconds or LEASE_SECONDS
        self.worker = f"{socket.gethostname()}:{os.getpid()}"

    def through(self, db: Database) -> JobStore:
        """Return the same jobs over another connection: a heartbeat has one of its own."""
        other = copy.copy(self)
        other.db = db
        other.attempts = Attempts(db, self.past)
        other.turns = Turns(db, self.table, self.turns.turns, self.turns.per_tenant)
        return other

    async def add(self, tx: AsyncConnection, kind: str, key: str, payload: JsonObject) -> bool:
        """Queue work unless its `key` is known; return whether it was queued."""
        fresh = new_job(kind, key, payload) | {"queued_at": self.db.clock()}
        return await insert_once(tx, self.table, fresh)

    async def claim(self, kind: str, on_failure: Ended | None = None) -> Job | None:
        """Take the job whose turn it is; one may be running whose worker stopped renewing."""
        while await self.turns.anybody_waits(kind):
            async with self.db.transaction() as tx:
                await self._hold_briefly(tx)
                row = await self.turns.next(tx, kind)
                if row is None:
                    break
                if row.state == "running" and await self._killed_too_often(tx, row, on_failure):
                    continue
                job = await self._take(tx, row)
            failpoints.reach("job.claimed")
            return job
        return None

    async def renew(self, job: Job) -> bool:
        """Renew the lease; return False when this worker has ended the job itself.

        Raises LeaseLost when somebody else has it, or cancelled it.
        """
        try:
            async with self.db.transaction() as tx:
                await self._fenced(
                    tx,
                    job,
                    {
                        "lease_until": self.db.clock() + self.lease_seconds,
                        "renewed_at": self.db.clock(),
                    },
                )
        except LeaseLost:
            found = await self.get(job.job_id)
            if found and found.token == job.token:
                return False
            raise
        return True

    async def report(self, tx: AsyncConnection, job: Job, progress: JsonObject) -> None:
        await self._fenced(tx, job, {"progress": progress})

    async def finish(self, tx: AsyncConnection, job: Job, result: JsonObject) -> None:
        """Finish a job within the transaction that publishes its result.

        Raises LeaseLost, which rolls the transaction back.
        """
        failpoints.reach("job.before-finish")
        await self._fenced(tx, job, {"state": "finished", "result": result, "error": None})
        await self.attempts.end(tx, job, "finished")

    async def fail(
        self,
        tx: AsyncConnection,
        job: Job,
        error: str,
        retry: bool,
        backoff: float = 0.0,
        counts: bool = True,
    ) -> None:
        """`counts` is false for what is not the job's own fault: it may happen any number of
        times.
        """
        await self._fenced(
            tx,
            job,
            {
                "state": "queued" if retry else "failed",
                "error": error[:2000],
                "failures": self.table.c.failures + int(counts),
                "lease_until": self.db.clock() + backoff if backoff else 0.0,
            },
        )
        await self.attempts.end(tx, job, "failed" if counts else "waits", error)

    async def release(self, job: Job) -> None:
        """Give a job back unharmed: this worker was told to stop."""
        async with self.db.transaction() as tx:
            await self._requeue(tx, job, "stopped", "its worker was told to stop")

    async def pause(self, tx: AsyncConnection, job: Job, reason: str) -> None:
        """Give a job back unharmed: another tenant has its turn."""
        await self._requeue(tx, job, "paused", reason)

    async def _requeue(self, tx: AsyncConnection, job: Job, outcome: str, reason: str) -> None:
        await self._fenced(tx, job, {"state": "queued", "lease_until": 0.0})
        await self.attempts.end(tx, job, outcome, reason)

    async def cancel(self, tx: AsyncConnection, job_id: str, reason: str) -> Job | None:
        """Cancel a job at once: from here on its worker's token is stale.

        Returns None when there was nothing left to cancel.
        """
        chosen = and_(self.table.c.job_id == job_id, self.table.c.state.in_(OPEN))
        before = (await tx.execute(select(self.table).where(chosen).with_for_update())).first()
        if before is None:
            return None
        await self._set(
            tx,
            chosen,
            {"state": "cancelled", "error": reason[:2000], "token": self.table.c.token + 1},
        )
        if before.state == "running":
            await self.attempts.end(tx, as_job(before), "cancelled", reason)
        else:
            await self.attempts.note(tx, before, "cancelled", reason)
        return as_job(before)

    async def requeue(self, tx: AsyncConnection, job_id: str, reason: str) -> Job | None:
        """Queue a failed or cancelled job again: attempts count from one. Returns None when it is
        neither.
        """
        chosen = and_(
            self.table.c.job_id == job_id, self.table.c.state.in_(("failed", "cancelled"))
        )
        before = (await tx.execute(select(self.table).where(chosen).with_for_update())).first()
        if before is None:
            return None
        await self.attempts.note(tx, before, "retried", reason)
        await self._set(
            tx,
            chosen,
            {
                "state": "queued",
                "attempt": 0,
                "failures": 0,
                "deaths": 0,
                "life": self.table.c.life + 1,
                "lease_until": 0.0,
                "queued_at": self.db.clock(),
                "error": None,
                "progress": {},
            },
        )
        return as_job(before)

    async def _take(self, tx: AsyncConnection, row: Row[Any]) -> Job:
        table = self.table
        clock = self.db.clock()
        await self.turns.serve(tx, row)
        taken = (
            await tx.execute(
                update(table)
                .where(table.c.job_id == row.job_id)
                .values(
                    state="running",
                    attempt=table.c.attempt + 1,
                    token=table.c.token + 1,
                    worker=self.worker,
                    lease_until=clock + self.lease_seconds,
                    renewed_at=clock,
                    updated_at=now(),
                )
                .returning(table)
            )
        ).one()
        spent = await self.attempts.begin(tx, taken)
        return replace(as_job(taken), spent=spent)

    async def _killed_too_often(
        self, tx: AsyncConnection, row: Row[Any], on_failure: Ended | None
    ) -> bool:
        """Count a worker that did not survive this job; end the job that kills each of them."""
        job = as_job(row)
        deaths = row.deaths + 1
        mine = self.table.c.job_id == row.job_id
        # It worked until then at most, however long nobody looked.
        await self.attempts.end(tx, job, "died", DIED, at=literal(row.renewed_at))
        if row.failures + deaths < MAX_ATTEMPTS:
            await self._set(tx, mine, {"deaths": deaths})
            return False
        reason = (
            f"its worker died {deaths} times; the last one: {row.worker}"
            if deaths > 1
            else f"its worker ({row.worker}) died"
        )
        await self._set(
            tx,
            mine,
            {"state": "failed", "error": reason, "deaths": deaths, "token": self.table.c.token + 1},
        )
        if on_failure:
            await on_failure(tx, job, reason, False)
        return True

    async def _fenced(self, tx: AsyncConnection, job: Job, values: JsonObject) -> None:
        await self._hold_briefly(tx)
        table = self.table
        owned = and_(
            table.c.job_id == job.job_id, table.c.token == job.token, table.c.state == "running"
        )
        if await self._set(tx, owned, values) == 0:
            raise LeaseLost(job.job_id)

    async def _hold_briefly(self, tx: AsyncConnection) -> None:
        """Keep a worker that is stopped within a transaction from locking its row for ever."""
        await self.db.dialect.end_if_idle(tx, self.lease_seconds)

    async def _set(self, tx: AsyncConnection, chosen: Any, values: JsonObject) -> int:
        return (
            await tx.execute(update(self.table).where(chosen).values(**values, updated_at=now()))
        ).rowcount

"""What is written down of each attempt at a job, and of what operators did in between."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, Table, and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.jobs.records import Job
from shared.storage import Database


class Attempts:
    """Writes the history of jobs, by the database's clock."""

    def __init__(self, db: Database, table: Table) -> None:
        self.db = db
        self.table = table

    async def begin(self, tx: AsyncConnection, job: Row[Any]) -> float:
        """Note a new attempt; return the seconds that the earlier ones of this run took."""
        past = self.table.c
        took = func.coalesce(func.sum(past.ended_at - past.began_at), 0.0)
        spent = select(took).where(past.job_id == job.job_id, past.life == job.life)
        seconds = float((await tx.execute(spent)).scalar_one())
        await tx.execute(
            insert(self.table).values(
                job_id=job.job_id,
                life=job.life,
                attempt=job.attempt,
                token=job.token,
                worker=job.worker,
                began_at=self.db.clock(),
            )
        )
        return seconds

    async def end(
        self,
        tx: AsyncConnection,
        job: Job,
        outcome: str,
        reason: str | None = None,
        at: ColumnElement[float] | None = None,
    ) -> None:
        """Note how an attempt ended; `at`: when, unless now."""
        attempt = and_(self.table.c.job_id == job.job_id, self.table.c.token == job.token)
        ended = self.db.clock() if at is None else at
        await tx.execute(
            update(self.table)
            .where(attempt)
            .values(ended_at=ended, outcome=outcome, reason=reason and reason[:2000])
        )

    async def note(self, tx: AsyncConnection, job: Row[Any], outcome: str, reason: str) -> None:
        """Note what an operator did between attempts."""
        await tx.execute(
            insert(self.table).values(
                job_id=job.job_id,
                life=job.life,
                outcome=outcome,
                reason=reason[:2000],
                ended_at=self.db.clock(),
            )
        )

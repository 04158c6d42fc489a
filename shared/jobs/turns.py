"""Whose job comes next: tenants take turns, so that a hundred jobs of one hold up nobody else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    MetaData,
    Row,
    Select,
    String,
    Table,
    and_,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.jobs.records import OPEN, Job
from shared.storage import Database, insert_once


def turns_table(metadata: MetaData) -> Table:
    """Make a row per kind of job and tenant: when a job of it was last begun, by the database's
    clock.
    """
    return Table(
        "job_turns",
        metadata,
        Column("kind", String(32), primary_key=True),
        Column("tenant", String(64), primary_key=True),
        Column("served_at", Float, nullable=False),
    )


class Turns:
    """The tenant with the fewest running jobs comes first, then the one that was served longest
    ago; within a tenant, the job that waits longest.

    At most `per_tenant` jobs of a kind and tenant run at once; None: as many as there are workers.
    """

    def __init__(
        self, db: Database, jobs: Table, turns: Table, per_tenant: int | None = None
    ) -> None:
        self.db = db
        self.jobs = jobs
        self.turns = turns
        self.per_tenant = per_tenant

    async def next(self, tx: AsyncConnection, kind: str) -> Any:
        """Lock and return the job that comes next.

        Two workers that ask at once never serve the same tenant, since each would find that nothing
        of it runs yet: the turn is locked, and gone for who looked before it was taken.
        """
        for row in (await tx.execute(self.waiting(kind))).all():
            turn = self._turn(kind, row.tenant)
            await insert_once(
                tx, self.turns, {"kind": kind, "tenant": row.tenant, "served_at": 0.0}
            )
            unserved = select(self.turns).where(turn, self.turns.c.served_at <= row.served)
            mine = self.db.dialect.skip_locked(unserved)
            if (await tx.execute(mine)).first() is None or await self._enough(tx, kind, row.tenant):
                continue
            oldest = self.db.dialect.skip_locked(self.oldest(kind, row.tenant))
            if found := (await tx.execute(oldest)).first():
                return found
        return None

    async def serve(self, tx: AsyncConnection, job: Row[Any]) -> None:
        """Note that this job's tenant has had its turn."""
        turn = self._turn(job.kind, job.tenant)
        await tx.execute(update(self.turns).where(turn).values(served_at=self.db.clock()))

    async def anybody_waits(self, kind: str, besides: Job | None = None) -> bool:
        """Say whether a job could begin now, one of another tenant than that of `besides`.

        It takes no write lock: workers ask all the time.
        """
        waiting = self.waiting(kind).limit(1)
        if besides:
            waiting = waiting.where(self.jobs.c.tenant != besides.tenant)
        async with self.db.read() as connection:
            return (await connection.execute(waiting)).first() is not None

    def waiting(self, kind: str) -> Select[Any]:
        """Select the tenants with a job that could begin now, in their order."""
        running = self._running(kind).subquery()
        count = func.coalesce(running.c.n, 0)
        served = func.coalesce(self.turns.c.served_at, 0.0)
        tenant = self.jobs.c.tenant
        waiting = (
            select(tenant, served.label("served"))
            .outerjoin(running, running.c.tenant == tenant)
            .outerjoin(self.turns, and_(self.turns.c.kind == kind, self.turns.c.tenant == tenant))
            .where(self._free(kind))
            .group_by(tenant, count, served)
            .order_by(count, served, func.min(self.jobs.c.queued_at), tenant)
        )
        return waiting if self.per_tenant is None else waiting.where(count < self.per_tenant)

    def oldest(self, kind: str, tenant: str) -> Select[Any]:
        """Select the job of a tenant that waits longest."""
        table = self.jobs
        return (
            select(table)
            .where(self._free(kind), table.c.tenant == tenant)
            .order_by(table.c.queued_at, table.c.job_id)
            .limit(1)
        )

    async def _enough(self, tx: AsyncConnection, kind: str, tenant: str) -> bool:
        """Count again what runs, now that nobody else begins a job of this tenant."""
        if self.per_tenant is None:
            return False
        running = self._running(kind).where(self.jobs.c.tenant == tenant)
        row = (await tx.execute(running)).first()
        return row is not None and row.n >= self.per_tenant

    def _running(self, kind: str) -> Select[Any]:
        table = self.jobs
        alive = and_(
            table.c.kind == kind,
            table.c.state == "running",
            table.c.lease_until >= self.db.clock(),
        )
        return select(table.c.tenant, func.count().label("n")).where(alive).group_by(table.c.tenant)

    def _free(self, kind: str) -> ColumnElement[bool]:
        """Match what waits and is not backing off, or whose worker stopped renewing its lease."""
        table = self.jobs
        return and_(
            table.c.kind == kind, table.c.state.in_(OPEN), table.c.lease_until < self.db.clock()
        )

    def _turn(self, kind: str, tenant: str) -> ColumnElement[bool]:
        return and_(self.turns.c.kind == kind, self.turns.c.tenant == tenant)

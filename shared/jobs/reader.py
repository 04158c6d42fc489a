"""What can be asked about jobs, by the API, the gauges and those who tidy up. Nothing here changes
one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, Select, Table, and_, func, or_, select

from shared.jobs.records import OPEN, Job, as_history, as_job
from shared.storage import Database


class JobReader:
    def __init__(self, db: Database, table: Table, past: Table) -> None:
        self.db = db
        self.table = table
        self.past = past

    async def get(self, job_id: str) -> Job | None:
        found = await self._read(self._placed().where(self.table.c.job_id == job_id))
        return as_job(found[0]) if found else None

    async def all(self, limit: int = 50) -> list[Job]:
        return [
            as_job(row)
            for row in await self._read(
                self._aged().order_by(self.table.c.job_id.desc()).limit(limit)
            )
        ]

    async def page(
        self, tenant: str, state: str | None, route: str | None, limit: int, offset: int
    ) -> list[Job]:
        """Return jobs of one tenant, the newest first."""
        chosen = self._placed().where(self.table.c.route.startswith(f"{tenant}/", autoescape=True))
        chosen = chosen.where(self.table.c.state == state) if state else chosen
        chosen = chosen.where(self.table.c.route == route) if route else chosen
        return [
            as_job(row)
            for row in await self._read(
                chosen.order_by(self.table.c.job_id.desc()).limit(limit).offset(offset)
            )
        ]

    async def history(self, job_id: str) -> list[dict[str, Any]]:
        """Return how each attempt ended, and what operators did, in order."""
        return [
            as_history(row)
            for row in await self._read(
                select(self.past).where(self.past.c.job_id == job_id).order_by(self.past.c.seq)
            )
        ]

    async def finished_runs(self, run_names: Iterable[str]) -> set[str]:
        """Return the runs that no worker will take up again: their folders can be deleted."""
        wanted = {name: name.partition(".")[0] for name in run_names}
        rows = await self._read(
            select(self.table).where(self.table.c.job_id.in_(set(wanted.values())))
        )
        alive = {as_job(row).run_name for row in rows if row.state in OPEN}
        return wanted.keys() - alive

    async def counts(self) -> dict[tuple[str, str], int]:
        columns = (self.table.c.kind, self.table.c.state)
        return {
            (row.kind, row.state): row.n
            for row in await self._read(
                select(*columns, func.count().label("n")).group_by(*columns)
            )
        }

    async def running(self) -> list[Job]:
        return [
            as_job(row)
            for row in await self._read(self._aged().where(self.table.c.state == "running"))
        ]

    def _aged(self) -> Select[Any]:
        clock = self.db.clock()
        table = self.table
        return select(
            table,
            (clock - table.c.queued_at).label("age"),
            (clock - table.c.renewed_at).label("silent"),
        )

    def _placed(self) -> Select[Any]:
        """Add how many jobs of the same kind and tenant come before each."""
        one = self.table
        other = one.alias()
        earlier = or_(
            other.c.queued_at < one.c.queued_at,
            and_(other.c.queued_at == one.c.queued_at, other.c.job_id < one.c.job_id),
        )
        same = (other.c.kind == one.c.kind, other.c.tenant == one.c.tenant)
        ahead = (
            select(func.count())
            .select_from(other)
            .where(*same, other.c.state.in_(OPEN), earlier, one.c.state == "queued")
            .correlate(one)
        )
        return self._aged().add_columns(ahead.scalar_subquery().label("ahead"))

    async def _read(self, query: Select[Any]) -> list[Row[Any]]:
        async with self.db.read() as connection:
            return list((await connection.execute(query)).all())

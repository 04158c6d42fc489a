"""Evaluations that wait for people, and the adapters that wait for these."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Value
from schemas.events import AdapterTrained
from services.evaluator.contest import Contest
from shared.storage import insert_once, upsert


class Waiting(Value):
    """An adapter that is asked about when people are done with the one before it."""

    # Of the job that found somebody before it.
    evaluation_id: str
    trained: AdapterTrained


class ContestStore:
    """A route has one open contest at most, and one adapter that waits: the newest."""

    def __init__(self, metadata: MetaData) -> None:
        self.contests = Table(
            "contests",
            metadata,
            Column("route", String(200), primary_key=True),
            Column("evaluation_id", String(64), nullable=False),
            Column("contest", String, nullable=False),
        )
        self.waiting = Table(
            "waiting_adapters",
            metadata,
            Column("route", String(200), primary_key=True),
            Column("evaluation_id", String(64), nullable=False),
            Column("waiting", String, nullable=False),
        )

    async def open(self, tx: AsyncConnection, contest: Contest) -> bool:
        """Note that people are asked; return False where the route has a contest already."""
        row = {
            "route": contest.route,
            "evaluation_id": contest.evaluation_id,
            "contest": contest.model_dump_json(),
        }
        return await insert_once(tx, self.contests, row)

    async def close(self, tx: AsyncConnection, evaluation_id: str) -> bool:
        """End a contest; return False where it had ended before."""
        this = self.contests.c.evaluation_id == evaluation_id
        return (await tx.execute(delete(self.contests).where(this))).rowcount == 1

    async def of_route(self, connection: AsyncConnection, route: str) -> Contest | None:
        wanted = select(self.contests.c.contest).where(self.contests.c.route == route)
        found = (await connection.execute(wanted)).scalar()
        return Contest.model_validate_json(found) if found else None

    async def all(self, connection: AsyncConnection, tenant: str = "") -> list[Contest]:
        """Return what is open, of one tenant or of all."""
        table = self.contests
        wanted = select(table.c.contest).order_by(table.c.evaluation_id)
        if tenant:
            wanted = wanted.where(table.c.route.startswith(f"{tenant}/", autoescape=True))
        rows = (await connection.execute(wanted)).scalars()
        return [Contest.model_validate_json(row) for row in rows]

    async def wait(self, tx: AsyncConnection, waiting: Waiting) -> None:
        row = {
            "route": waiting.trained.route,
            "evaluation_id": waiting.evaluation_id,
            "waiting": waiting.model_dump_json(),
        }
        await upsert(tx, self.waiting, row)

    async def who_waits(self, connection: AsyncConnection, route: str) -> Waiting | None:
        wanted = select(self.waiting.c.waiting).where(self.waiting.c.route == route)
        found = (await connection.execute(wanted)).scalar()
        return Waiting.model_validate_json(found) if found else None

    async def free(self, connection: AsyncConnection) -> list[Waiting]:
        """Return those whose route has no open contest any more."""
        table = self.waiting
        free = table.c.route.not_in(select(self.contests.c.route))
        rows = await connection.execute(select(table.c.waiting).where(free))
        return [Waiting.model_validate_json(row) for row in rows.scalars()]

    async def take(self, tx: AsyncConnection, waiting: Waiting) -> bool:
        """Let one wait no more; return False where a newer one took its place."""
        table = self.waiting
        this = table.c.evaluation_id == waiting.evaluation_id
        return (await tx.execute(delete(table).where(this))).rowcount == 1

"""What was answered beside, as far as it is right."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.router.evidence import Comparison
from services.router.store.tables import BASE, Tables
from shared.storage import Database, insert_once


@dataclass(frozen=True)
class Shadow:
    """Two answers to one question, as digests: of the adapter on trial and of what it replaces."""

    inference_id: str
    route: str
    new: str
    # None is the base model.
    old: str | None
    new_answer: str
    old_answer: str
    # Seconds since the epoch.
    at: float


@dataclass(frozen=True)
class ShadowStore:
    db: Database
    tables: Tables

    async def add(self, shadow: Shadow) -> None:
        row = asdict(shadow) | {"old": shadow.old or BASE}
        async with self.db.transaction() as tx:
            await insert_once(tx, self.tables.shadows, row)

    async def judge(self, tx: AsyncConnection, inference_id: str, right: str | None) -> None:
        """Note which of two answers is right, by the digest of the right one; None: neither."""
        table = self.tables.shadows
        await tx.execute(
            update(table)
            .where(table.c.inference_id == inference_id)
            .values(
                new_right=table.c.new_answer == right if right else False,
                old_right=table.c.old_answer == right if right else False,
            )
        )

    async def forget(self, tx: AsyncConnection, inference_id: str) -> None:
        """Take a judgement back."""
        table = self.tables.shadows
        mine = table.c.inference_id == inference_id
        await tx.execute(update(table).where(mine).values(new_right=None, old_right=None))

    async def comparison(
        self, connection: AsyncConnection, route: str, new: str, old: str | None, began: float
    ) -> Comparison:
        """Compare two adapters on the questions that both answered and a reviewer decided."""
        table = self.tables.shadows
        won = table.c.new_right & ~table.c.old_right
        lost = table.c.old_right & ~table.c.new_right
        rows = await connection.execute(
            select(func.count(case((won, 1))), func.count(case((lost, 1))), func.count()).where(
                table.c.route == route,
                table.c.new == new,
                table.c.old == (old or BASE),
                table.c.at >= began,
                table.c.new_right.is_not(None),
            )
        )
        wins, losses, pairs = rows.one()
        return Comparison(wins=wins, losses=losses, pairs=pairs)

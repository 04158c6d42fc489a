"""How many provisional answers each route still has reviewed on a day."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.review.store.tables import Tables
from shared.storage import insert_once


class Budgets:
    def __init__(self, tables: Tables) -> None:
        self.table = tables.budgets
        this = (
            self.table.c.route == bindparam("of_route"),
            self.table.c.day == bindparam("of_day"),
        )
        left = self.table.c.taken < bindparam("most")
        self._take = update(self.table).where(*this, left).values(taken=self.table.c.taken + 1)
        self._left = select(self.table.c.taken).where(*this, ~left)

    async def spend(
        self, tx: AsyncConnection, route: str, day: str, most: int, charge: bool
    ) -> bool:
        """Say whether the budget of a route's day was used up; take one of it where `charge` is."""
        values = {"of_route": route, "of_day": day, "most": most}
        await insert_once(tx, self.table, {"route": route, "day": day, "taken": 0})
        if charge:
            return (await tx.execute(self._take, values)).rowcount == 0
        return (await tx.execute(self._left, values)).first() is not None

    async def forget(self, tx: AsyncConnection, before: str) -> None:
        """Drop the days before one, as in 2026-11-27."""
        await tx.execute(delete(self.table).where(self.table.c.day < before))

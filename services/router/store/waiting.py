"""How many questions a challenger has and has not answered, in all processes together: one that
hangs must not be promoted by a process that gave it none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Table, delete, func, select

from schemas.base import uuid7
from shared.storage import Database, upsert

# A process tells it four times a second; one that is silent for so long has ended.
LIVE_SECONDS = 10.0


@dataclass
class Waiting:
    db: Database
    table: Table
    process: str = field(default_factory=uuid7)
    _told: set[str] = field(default_factory=set)

    async def tell(self, adapter_id: str, count: int) -> None:
        """Tell the other processes how many questions an adapter has from this one."""
        table = self.table
        if count:
            self._told.add(adapter_id)
            row = {"process": self.process, "adapter_id": adapter_id, "waiting": count}
            async with self.db.transaction(wake=False) as tx:
                at = (await tx.execute(select(self.db.clock()))).scalar_one()
                await upsert(tx, table, row | {"at": at})
        elif adapter_id in self._told:
            self._told.remove(adapter_id)
            mine = (table.c.process == self.process) & (table.c.adapter_id == adapter_id)
            async with self.db.transaction(wake=False) as tx:
                await tx.execute(delete(table).where(mine))

    async def elsewhere(self, adapter_id: str) -> int:
        """Return how many questions an adapter has from other processes that live."""
        table = self.table
        others = (table.c.adapter_id == adapter_id) & (table.c.process != self.process)
        live = table.c.at > self.db.clock() - LIVE_SECONDS
        counted = select(func.coalesce(func.sum(table.c.waiting), 0)).where(others, live)
        async with self.db.read() as connection:
            return int((await connection.execute(counted)).scalar_one())

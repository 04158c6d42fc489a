"""For what each route's arms were calibrated, by digest."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Column, MetaData, String, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import CalibrationFitted
from shared.storage import insert_once


class PopulationStore:
    """Only ever added to: a route that returns to what it was has its calibrations again."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "populations",
            metadata,
            Column("route", String(200), primary_key=True),
            Column("holds_for", String(64), primary_key=True),
        )

    async def add(self, tx: AsyncConnection, fitted: Sequence[CalibrationFitted]) -> None:
        for one in fitted:
            if one.holds_for:
                row = {"route": one.route, "holds_for": one.holds_for}
                await insert_once(tx, self.table, row)

    async def count(self, connection: AsyncConnection) -> int:
        counted = select(func.count()).select_from(self.table)
        return (await connection.execute(counted)).scalar_one()

    async def known(self, connection: AsyncConnection, route: str) -> set[str]:
        """Return the digests for which arms of a route were calibrated."""
        table = self.table
        rows = await connection.execute(select(table.c.holds_for).where(table.c.route == route))
        return set(rows.scalars())

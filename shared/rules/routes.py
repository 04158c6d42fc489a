"""What serves each route, as last heard on `route-changed`: every service but the router keeps this
copy.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import RouteChanged
from shared.errors import NotFound
from shared.storage import upsert


class RouteUnknown(NotFound):
    def __init__(self, route: str) -> None:
        super().__init__(
            f"no route '{route}'; 'ratchet routes list' shows what exists, 'ratchet routes create"
            " FILE' adds one"
        )


class RouteBook:
    """The newest state of each route; an older version that arrives late is ignored."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "routes",
            metadata,
            Column("route", String(200), primary_key=True),
            Column("version", Integer, nullable=False),
            Column("state", String, nullable=False),
        )

    async def on_route_changed(self, tx: AsyncConnection, event: RouteChanged) -> None:
        known = (
            await tx.execute(select(self.table.c.version).where(self.table.c.route == event.route))
        ).scalar()
        if known is None or known < event.version:
            await upsert(
                tx,
                self.table,
                {"route": event.route, "version": event.version, "state": event.model_dump_json()},
            )

    async def get(self, tx: AsyncConnection, route: str) -> RouteChanged:
        state = (
            await tx.execute(select(self.table.c.state).where(self.table.c.route == route))
        ).scalar()
        if state is None:
            raise RouteUnknown(route)
        return RouteChanged.model_validate_json(state)

    async def names(self, tx: AsyncConnection, tenant: str) -> set[str]:
        rows = await tx.execute(
            select(self.table.c.route).where(
                self.table.c.route.startswith(f"{tenant}/", autoescape=True)
            )
        )
        return {row.route for row in rows}

    async def all(self, tx: AsyncConnection) -> list[RouteChanged]:
        rows = await tx.execute(select(self.table.c.state).order_by(self.table.c.route))
        return [RouteChanged.model_validate_json(row.state) for row in rows]

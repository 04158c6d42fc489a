"""What serves each route, as last heard on `route-changed`: every service but the router keeps this
copy.
"""

from __future__ import annotations

import json

from pydantic import ValidationError
from sqlalchemy import Column, Integer, MetaData, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import RouteChanged
from schemas.personal import PersonalRule, Treatment
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

    async def personal(self, tx: AsyncConnection, tenant: str) -> dict[str, dict[str, Treatment]]:
        """Return by the name of each route of a tenant what personal data is not redacted there."""
        rows = await tx.execute(
            select(self.table.c.route, self.table.c.state).where(
                self.table.c.route.startswith(f"{tenant}/", autoescape=True)
            )
        )
        return {row.route: chosen_in(row.state) for row in rows}

    async def all(self, tx: AsyncConnection) -> list[RouteChanged]:
        rows = await tx.execute(select(self.table.c.state).order_by(self.table.c.route))
        return [RouteChanged.model_validate_json(row.state) for row in rows]


def chosen_in(state: str) -> dict[str, Treatment]:
    """Return what a stored route has instead of redaction: nothing where a newer release wrote what
    this one does not know, which is safe.
    """
    rule = json.loads(state)["spec"].get("personal", {})
    try:
        return PersonalRule.model_validate(rule).chosen
    except ValidationError:
        return {}

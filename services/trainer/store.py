"""The adapters that were trained, in the trainer's own database."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import AdapterTrained
from shared.errors import NotFound
from shared.storage import insert_once


class AdapterUnknown(NotFound):
    def __init__(self, adapter_id: str) -> None:
        super().__init__(
            f"no adapter '{adapter_id[:200]}' of this tenant was trained here; GET /v1/adapters"
            " lists them"
        )


class Adapters:
    """What was trained; a row is never changed."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "adapters",
            metadata,
            Column("adapter_id", String(200), primary_key=True),
            Column("job_id", String(36), nullable=False),
            Column("tenant", String(64), nullable=False, index=True),
            Column("route", String(200), nullable=False),
            Column("event", String, nullable=False),
        )

    async def add(self, tx: AsyncConnection, event: AdapterTrained) -> None:
        await insert_once(
            tx,
            self.table,
            {
                "adapter_id": event.adapter.adapter_id,
                "job_id": event.job_id,
                "tenant": event.tenant,
                "route": event.route,
                "event": event.model_dump_json(),
            },
        )

    async def get(self, tx: AsyncConnection, tenant: str, adapter_id: str) -> AdapterTrained:
        """Return one adapter of a tenant. Raises AdapterUnknown."""
        table = self.table
        rows = await tx.execute(
            select(table.c.event).where(table.c.adapter_id == adapter_id, table.c.tenant == tenant)
        )
        found = rows.scalar()
        if found is None:
            raise AdapterUnknown(adapter_id)
        return AdapterTrained.model_validate_json(found)

    async def page(
        self, tx: AsyncConnection, tenant: str, route: str | None, limit: int, offset: int
    ) -> list[AdapterTrained]:
        """Return a tenant's adapters, the newest first."""
        table = self.table
        chosen = (
            select(table.c.event)
            .where(table.c.tenant == tenant)
            .order_by(table.c.job_id.desc())
            .limit(limit)
            .offset(offset)
        )
        if route:
            chosen = chosen.where(table.c.route == route)
        rows = await tx.execute(chosen)
        return [AdapterTrained.model_validate_json(event) for event in rows.scalars()]

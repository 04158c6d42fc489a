"""The dataset versions that exist: the event that announced each, and its manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import JsonObject
from schemas.events import DatasetBuilt
from services.dataset_builder.store.verdicts import microseconds
from shared.errors import NotFound


class DatasetUnknown(NotFound):
    def __init__(self, dataset_id: str) -> None:
        super().__init__(f"no dataset '{dataset_id}'; GET /v1/datasets lists what exists")


@dataclass(frozen=True)
class StoredDataset:
    event: DatasetBuilt
    manifest: JsonObject


class DatasetStore:
    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "datasets",
            metadata,
            Column("dataset_id", String(200), primary_key=True),
            Column("route", String(200), nullable=False, index=True),
            # Microseconds since the epoch.
            Column("built_us", BigInteger, nullable=False),
            Column("event", String, nullable=False),
            Column("manifest", String, nullable=False),
        )

    async def add(self, tx: AsyncConnection, event: DatasetBuilt, manifest: str) -> None:
        await tx.execute(
            insert(self.table).values(
                dataset_id=event.dataset_id,
                route=event.route,
                built_us=microseconds(event.occurred_at),
                event=event.model_dump_json(),
                manifest=manifest,
            )
        )

    async def page(
        self, connection: AsyncConnection, tenant: str, route: str | None, offset: int, limit: int
    ) -> list[JsonObject]:
        """Return the events of one tenant's datasets, or of one route's, the newest first."""
        table = self.table
        mine = (
            table.c.route == route
            if route
            else table.c.route.startswith(f"{tenant}/", autoescape=True)
        )
        chosen = (
            select(table.c.event)
            .where(mine)
            .order_by(table.c.built_us.desc(), table.c.dataset_id)
            .offset(offset)
            .limit(limit)
        )
        return [json.loads(event) for event in (await connection.execute(chosen)).scalars()]

    async def built(self, connection: AsyncConnection, route: str, limit: int) -> list[datetime]:
        """Return when a route's newest datasets were built, the newest first."""
        table = self.table
        wanted = select(table.c.built_us).where(table.c.route == route)
        rows = await connection.execute(wanted.order_by(table.c.built_us.desc()).limit(limit))
        return [datetime.fromtimestamp(built / 1_000_000, UTC) for built in rows.scalars()]

    async def get(self, connection: AsyncConnection, tenant: str, dataset_id: str) -> StoredDataset:
        """Return a dataset of a tenant. Raises DatasetUnknown."""
        table = self.table
        mine = table.c.route.startswith(f"{tenant}/", autoescape=True)
        chosen = select(table.c.event, table.c.manifest).where(
            table.c.dataset_id == dataset_id, mine
        )
        row = (await connection.execute(chosen)).first()
        if row is None:
            raise DatasetUnknown(dataset_id)
        return StoredDataset(DatasetBuilt.model_validate_json(row.event), json.loads(row.manifest))

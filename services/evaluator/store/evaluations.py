"""Evaluations and the calibrations that came with them, as stored."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import JsonObject
from schemas.events import AdapterEvaluated, CalibrationFitted
from shared.errors import NotFound


class EvaluationUnknown(NotFound):
    def __init__(self, evaluation_id: str) -> None:
        super().__init__(f"no evaluation '{evaluation_id}'; GET /v1/evaluations lists them")


class EvaluationStore:
    """Ids are those of the jobs, which are ordered by time: newest first is a descending id."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "evaluations",
            metadata,
            Column("evaluation_id", String(36), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("route", String(200), nullable=False, index=True),
            Column("adapter_id", String(256), nullable=False, index=True),
            Column("event", String, nullable=False),
            Column("calibrations", String, nullable=False),
        )

    async def add(
        self,
        tx: AsyncConnection,
        event: AdapterEvaluated,
        calibrations: Sequence[CalibrationFitted],
    ) -> None:
        await tx.execute(
            insert(self.table).values(
                evaluation_id=event.evaluation_id,
                tenant=event.tenant,
                route=event.route,
                adapter_id=event.adapter.adapter_id,
                event=event.model_dump_json(),
                calibrations=json.dumps([found.model_dump(mode="json") for found in calibrations]),
            )
        )

    async def attempts(self, connection: AsyncConnection, route: str) -> list[bool]:
        """Return of each adapter of a route that was tested, the oldest first, whether it was
        promoted; those that older releases tested had a level of their own.
        """
        table = self.table
        wanted = select(table.c.event).where(table.c.route == route).order_by(table.c.evaluation_id)
        events = map(json.loads, (await connection.execute(wanted)).scalars())
        return [event["verdict"] == "promote" for event in events if event.get("attempt")]

    async def page(
        self,
        connection: AsyncConnection,
        tenant: str,
        adapter_id: str | None,
        route: str | None,
        limit: int,
        offset: int,
    ) -> list[JsonObject]:
        """Return the events of one tenant, the newest first."""
        table = self.table
        wanted = (
            select(table.c.event)
            .where(table.c.tenant == tenant)
            .order_by(table.c.evaluation_id.desc())
            .limit(limit)
            .offset(offset)
        )
        if adapter_id:
            wanted = wanted.where(table.c.adapter_id == adapter_id)
        if route:
            wanted = wanted.where(table.c.route == route)
        return [json.loads(event) for event in (await connection.execute(wanted)).scalars()]

    async def get(self, connection: AsyncConnection, tenant: str, evaluation_id: str) -> JsonObject:
        """Return the event with the calibrations published beside it. Raises EvaluationUnknown."""
        table = self.table
        wanted = select(table.c.event, table.c.calibrations).where(
            table.c.tenant == tenant, table.c.evaluation_id == evaluation_id
        )
        row = (await connection.execute(wanted)).first()
        if row is None:
            raise EvaluationUnknown(evaluation_id)
        event: JsonObject = json.loads(row.event)
        return event | {"calibrations": json.loads(row.calibrations)}

"""The monitors of each route, and the alarms they raised."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import DriftDetected, ReviewCompleted, RouteChanged
from services.evaluator.monitor import Monitor
from services.evaluator.observed import episode_of
from services.evaluator.ports import Streams
from shared.errors import NotFound
from shared.storage.db import upsert


class DriftUnknown(NotFound):
    def __init__(self, drift_id: str) -> None:
        super().__init__(f"no drift alarm '{drift_id}'; GET /v1/drift lists them")


class SqlMonitors:
    def __init__(self, metadata: MetaData, streams: Streams, run_length: float) -> None:
        self.streams = streams
        self.run_length = run_length
        kinds = {"int": Integer, "float": Float}
        lengths = {"route": 200, "tenant": 64, "adapter_id": 256, "episode": 32}
        self.table = Table(
            "monitors",
            metadata,
            *(
                Column(
                    name,
                    kinds.get(field.type, String(lengths.get(name))),
                    primary_key=name == "route",
                    nullable="None" in field.type,
                )
                for name, field in Monitor.__dataclass_fields__.items()
            ),
        )
        self.alarms = Table(
            "drift_alarms",
            metadata,
            Column("drift_id", String(36), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("route", String(200), nullable=False, index=True),
            Column("event", String, nullable=False),
        )

    async def get(self, tx: AsyncConnection, route: str) -> Monitor | None:
        row = (
            (
                await tx.execute(
                    select(self.table).where(self.table.c.route == route).with_for_update()
                )
            )
            .mappings()
            .first()
        )
        return Monitor(**row) if row else None

    async def all(self, connection: AsyncConnection) -> list[Monitor]:
        rows = await connection.execute(select(self.table).order_by(self.table.c.route))
        return [Monitor(**row) for row in rows.mappings()]

    async def follow(self, tx: AsyncConnection, state: RouteChanged) -> None:
        """Start over when the route's champion or meaning changed; stop when it has no champion."""
        episode = episode_of(state)
        known = await self.get(tx, state.route)
        if episode is None:
            await tx.execute(delete(self.table).where(self.table.c.route == state.route))
        elif known is None or known.episode != episode:
            await upsert(tx, self.table, await self._fresh(tx, state, episode, known))
            await self.streams.forget_other_adapters(tx, state.route, state.champion.adapter_id)

    async def _fresh(
        self, tx: AsyncConnection, state: RouteChanged, episode: str, known: Monitor | None
    ) -> dict[str, Any]:
        """Answers of a champion that stays belong to what was normal before; those of a new one are
        all its own.
        """
        same = known is not None and known.adapter_id == state.champion.adapter_id
        since = await self.streams.newest(tx, state.route) if same else 0
        rule = state.spec.drift
        return vars(
            Monitor(
                route=state.route,
                tenant=state.tenant,
                adapter_id=state.champion.adapter_id,
                episode=episode,
                since=since,
                cursor=0,
                reference=rule.reference,
                window=rule.window,
                windows=0,
                recent="[]",
                statistics="[]",
                input_drift_id=None,
                tolerated=rule.tolerated_error,
                run_length=self.run_length,
                evidence="[0.0, 0.0, 0.0, 0.0]",
                labels=0,
                errors=0,
                error_fired=0,
                error_drift_id=None,
            )
        )

    async def count(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """One audited verdict on the champion's own answer moves the error detector by one label.

        A rejected answer counts as wrong: that no label fits is how a new kind of request first
        shows (decision 0007).
        """
        monitor = await self.get(tx, event.route)
        counts = event.audit and event.arm == "champion"
        if monitor is None or not counts or event.adapter_id != monitor.adapter_id:
            return
        wrong = event.verdict != "approved"
        detector = monitor.detector.update(wrong)
        await self.save(
            tx,
            replace(
                monitor,
                evidence=json.dumps(detector.evidence),
                labels=monitor.labels + 1,
                errors=monitor.errors + wrong,
                error_fired=int(monitor.error_fired or detector.fired),
            ),
        )

    async def save(self, tx: AsyncConnection, monitor: Monitor) -> None:
        await tx.execute(
            update(self.table).where(self.table.c.route == monitor.route).values(**vars(monitor))
        )

    async def raise_alarm(self, tx: AsyncConnection, event: DriftDetected) -> None:
        await tx.execute(
            insert(self.alarms).values(
                drift_id=event.drift_id,
                tenant=event.tenant,
                route=event.route,
                event=event.model_dump_json(),
            )
        )

    async def alarms_of(
        self, connection: AsyncConnection, tenant: str, route: str | None, limit: int, offset: int
    ) -> list[dict[str, Any]]:
        table = self.alarms
        wanted = (
            select(table)
            .where(table.c.tenant == tenant)
            .order_by(table.c.drift_id.desc())
            .limit(limit)
            .offset(offset)
        )
        rows = await connection.execute(wanted.where(table.c.route == route) if route else wanted)
        return [json.loads(row.event) for row in rows]

    async def alarm(
        self, connection: AsyncConnection, tenant: str, drift_id: str
    ) -> dict[str, Any]:
        table = self.alarms
        row = (
            await connection.execute(
                select(table).where(table.c.tenant == tenant, table.c.drift_id == drift_id)
            )
        ).first()
        if row is None:
            raise DriftUnknown(drift_id)
        return json.loads(row.event)

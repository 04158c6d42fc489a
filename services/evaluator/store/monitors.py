"""The monitors of each route, and the alarms they raised."""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import (
    Column,
    Float,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import JsonObject
from schemas.events import DriftDetected, ReviewCompleted, RouteChanged, Statistic
from services.evaluator.monitor import ErrorDetector, Monitor, fresh_monitor
from services.evaluator.observed import episode_of
from services.evaluator.store.streams import StreamStore
from shared.errors import NotFound
from shared.storage import upsert


class DriftUnknown(NotFound):
    def __init__(self, drift_id: str) -> None:
        super().__init__(f"no drift alarm '{drift_id}'; GET /v1/drift lists them")


class MonitorStore:
    def __init__(self, metadata: MetaData, streams: StreamStore, run_length: float) -> None:
        self.streams = streams
        # Labels on average to a false error alarm, for monitors that begin now.
        self.run_length = run_length
        self.table = monitors_table(metadata)
        self.alarms = Table(
            "drift_alarms",
            metadata,
            Column("drift_id", String(36), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("route", String(200), nullable=False, index=True),
            Column("event", String, nullable=False),
        )

    async def get(self, tx: AsyncConnection, route: str) -> Monitor | None:
        """Return a route's monitor and lock its row, where the database can."""
        wanted = select(self.table).where(self.table.c.route == route).with_for_update()
        row = (await tx.execute(wanted)).mappings().first()
        return as_monitor(row) if row else None

    async def routes(self, connection: AsyncConnection) -> list[str]:
        """Return which routes are watched."""
        rows = await connection.execute(select(self.table.c.route).order_by(self.table.c.route))
        return [row.route for row in rows]

    async def see(self, connection: AsyncConnection, route: str) -> Monitor | None:
        """Return a route's monitor as it is now, without a lock."""
        wanted = select(self.table).where(self.table.c.route == route)
        row = (await connection.execute(wanted)).mappings().first()
        return as_monitor(row) if row else None

    async def all(self, connection: AsyncConnection) -> list[Monitor]:
        rows = await connection.execute(select(self.table).order_by(self.table.c.route))
        return [as_monitor(row) for row in rows.mappings()]

    async def follow(self, tx: AsyncConnection, state: RouteChanged) -> None:
        """Start over when the route's champion or meaning changed; stop when it has no champion."""
        episode = episode_of(state)
        known = await self.get(tx, state.route)
        if state.champion is None or episode is None:
            await tx.execute(delete(self.table).where(self.table.c.route == state.route))
            return
        if known is not None and known.episode == episode:
            return
        adapter_id = state.champion.adapter_id
        # Answers of a champion that stays belong to what was normal before; those of a new one are
        # all its own.
        stays = known is not None and known.adapter_id == adapter_id
        since = await self.streams.newest(tx, state.route) if stays else 0
        monitor = fresh_monitor(state, adapter_id, episode, since, self.run_length)
        await upsert(tx, self.table, as_row(monitor))
        await self.streams.forget_other_adapters(tx, state.route, adapter_id)

    async def count(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Move the error detector by one label: an audited verdict on the champion's own answer.

        A rejected answer counts as wrong: that no label fits is how a new kind of request first
        shows (docs/decisions/0007-rejected-is-wrong.md).
        """
        monitor = await self._counting(tx, event)
        if monitor is None:
            return
        wrong = event.verdict != "approved"
        detector = monitor.detector.update(wrong)
        counted = replace(
            monitor,
            detector=detector,
            labels=monitor.labels + 1,
            errors=monitor.errors + wrong,
            error_fired=monitor.error_fired or detector.fired,
        )
        await self.save(tx, counted)

    async def uncount(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Count again without a verdict that was withdrawn; an alarm that was raised stays raised.

        The detector cannot take a label back, so it hears the others again, in their order.
        """
        monitor = await self._counting(tx, event)
        if monitor is None:
            return
        counted = await self.streams.counted(tx, event, monitor.labels)
        # It counted in an earlier episode.
        if event.review_id not in counted:
            return
        del counted[event.review_id]
        detector = replace(monitor.detector, evidence=ErrorDetector.evidence)
        fired = monitor.error_drift_id is not None
        for wrong in counted.values():
            detector = detector.update(wrong)
            fired = fired or detector.fired
        again = replace(
            monitor,
            detector=detector,
            labels=len(counted),
            errors=sum(counted.values()),
            error_fired=fired,
        )
        await self.save(tx, again)

    async def _counting(self, tx: AsyncConnection, event: ReviewCompleted) -> Monitor | None:
        """Return the monitor that counts a verdict, which is one on its champion's own answer."""
        monitor = await self.get(tx, event.route)
        counts = event.audit and event.arm == "champion"
        return monitor if monitor and counts and event.adapter_id == monitor.adapter_id else None

    async def save(self, tx: AsyncConnection, monitor: Monitor) -> None:
        await tx.execute(
            update(self.table).where(self.table.c.route == monitor.route).values(as_row(monitor))
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
    ) -> list[JsonObject]:
        """Return the alarms of one tenant, the newest first."""
        table = self.alarms
        wanted = (
            select(table.c.event)
            .where(table.c.tenant == tenant)
            .order_by(table.c.drift_id.desc())
            .limit(limit)
            .offset(offset)
        )
        if route:
            wanted = wanted.where(table.c.route == route)
        return [json.loads(event) for event in (await connection.execute(wanted)).scalars()]

    async def alarm(self, connection: AsyncConnection, tenant: str, drift_id: str) -> JsonObject:
        """Return one alarm. Raises DriftUnknown."""
        table = self.alarms
        wanted = select(table.c.event).where(table.c.tenant == tenant, table.c.drift_id == drift_id)
        found = (await connection.execute(wanted)).scalar()
        if found is None:
            raise DriftUnknown(drift_id)
        event: JsonObject = json.loads(found)
        return event


def monitors_table(metadata: MetaData) -> Table:
    """Declare the table. `recent`, `statistics` and `evidence` are JSON."""
    return Table(
        "monitors",
        metadata,
        Column("route", String(200), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("adapter_id", String(256), nullable=False),
        Column("episode", String(32), nullable=False),
        Column("since", Integer, nullable=False),
        Column("cursor", Integer, nullable=False),
        Column("reference", Integer, nullable=False),
        Column("window", Integer, nullable=False),
        Column("windows", Integer, nullable=False),
        Column("recent", String, nullable=False),
        Column("statistics", String, nullable=False),
        Column("input_drift_id", String),
        Column("tolerated", Float, nullable=False),
        Column("run_length", Float, nullable=False),
        Column("evidence", String, nullable=False),
        Column("labels", Integer, nullable=False),
        Column("errors", Integer, nullable=False),
        Column("error_fired", Integer, nullable=False),
        Column("error_drift_id", String),
    )


def as_monitor(row: RowMapping) -> Monitor:
    values = dict(row)
    detector = ErrorDetector(
        values.pop("tolerated"),
        values.pop("run_length"),
        tuple(json.loads(values.pop("evidence"))),
    )
    statistics = json.loads(values.pop("statistics"))
    return Monitor(
        detector=detector,
        recent=tuple(json.loads(values.pop("recent"))),
        statistics=tuple(Statistic.model_validate(statistic) for statistic in statistics),
        error_fired=bool(values.pop("error_fired")),
        **values,
    )


def as_row(monitor: Monitor) -> JsonObject:
    values = dict(vars(monitor))
    detector: ErrorDetector = values.pop("detector")
    return values | {
        "recent": json.dumps(monitor.recent),
        "statistics": json.dumps([statistic.model_dump() for statistic in monitor.statistics]),
        "tolerated": detector.tolerated,
        "run_length": detector.run_length,
        "evidence": json.dumps(detector.evidence),
        "error_fired": int(monitor.error_fired),
    }

"""The monitors of each route, and the alarms they raised."""

from __future__ import annotations

import json
from dataclasses import replace

from pydantic import TypeAdapter
from sqlalchemy import (
    Column,
    Float,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import JsonObject
from schemas.events import DriftDetected, ReviewCompleted, RouteChanged
from schemas.monitoring import Statistic
from services.evaluator.monitor import ErrorDetector, Monitor, Pending, fresh_monitor
from services.evaluator.observed import NO_ADAPTER, episode_of
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

    async def follow(self, tx: AsyncConnection, state: RouteChanged, heard: RouteChanged) -> None:
        """Start over when the route's champion or meaning changed.

        `state` is the newest that is known of the route, and `heard` what was said just now, which
        may be older.
        """
        episode = episode_of(state)
        known = await self.get(tx, state.route)
        if known is not None and known.episode == episode:
            if episode_of(heard) == episode and heard.occurred_at.timestamp() < known.began:
                await self.save(tx, replace(known, began=heard.occurred_at.timestamp()))
            return
        adapter_id = state.champion.adapter_id if state.champion else None
        # Answers of a champion that stays belong to what was normal before; those of a new one are
        # all its own.
        stays = known is not None and known.adapter_id == adapter_id
        since = await self.streams.newest(tx, state.route) if stays else 0
        began = state.occurred_at.timestamp()
        monitor = fresh_monitor(state, episode, since, self.run_length, began)
        if known is not None and stays:
            # Its labels still bear an alarm out.
            monitor = replace(
                monitor,
                began=known.began,
                pending=known.pending,
                input_drift_id=known.input_drift_id,
                error_drift_id=known.error_drift_id,
            )
        await upsert(tx, self.table, as_row(monitor))
        await self.streams.forget_other_adapters(tx, state.route, adapter_id or NO_ADAPTER)

    async def count(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Move the error detectors by one label: an audited verdict.

        A rejected answer counts as wrong: that no label fits is how a new kind of request first
        shows (docs/decisions/0007-rejected-is-wrong.md).
        """
        monitor = await self.get(tx, event.route) if event.audit else None
        if monitor is None:
            return
        wrong = event.verdict != "approved"
        counted = replace(monitor, rise=monitor.rise.update(wrong))
        if is_its_own(event, monitor):
            counted = replace(counted, tolerance=monitor.tolerance.update(wrong))
        await self.save(tx, counted)

    async def uncount(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Count again without a verdict that was withdrawn; an alarm that was raised stays raised.

        A detector cannot take a label back, so it hears the others again, in their order.
        """
        monitor = await self.get(tx, event.route) if event.audit else None
        if monitor is None:
            return
        again = replace(monitor, rise=await self._without(tx, event, monitor.rise, None))
        if is_its_own(event, monitor):
            tolerance = await self._without(tx, event, monitor.tolerance, monitor.adapter_id)
            again = replace(again, tolerance=tolerance)
        await self.save(tx, again)

    async def _without(
        self,
        tx: AsyncConnection,
        event: ReviewCompleted,
        detector: ErrorDetector,
        adapter_id: str | None,
    ) -> ErrorDetector:
        """Return a detector as if it had never heard a verdict."""
        counted = await self.streams.counted(tx, event, detector.labels, adapter_id)
        # It counted in an earlier episode.
        if event.review_id not in counted:
            return detector
        before = list(counted).index(event.review_id) < detector.armed
        del counted[event.review_id]
        return detector.heard_again(list(counted.values()), detector.armed - before)

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


def is_its_own(event: ReviewCompleted, monitor: Monitor) -> bool:
    """Say whether a verdict is on an answer of the champion that is watched."""
    return event.arm == "champion" and event.adapter_id == monitor.adapter_id


def monitors_table(metadata: MetaData) -> Table:
    """Declare the table. `recent`, `statistics`, `evidence`, `detectors` and `pending` are JSON.

    From `tolerated` to `error_fired` it holds what the last release reads of `detectors`.
    """
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
        Column("began", Float, nullable=False, server_default="0"),
        Column("unmatched", Integer, nullable=False, server_default="0"),
        Column("detectors", String),
        Column("pending", String),
    )


# Reads a detector from JSON, which has lists for tuples.
DETECTOR = TypeAdapter(ErrorDetector)
# The columns that a release before this one reads.
OLDER = ("tolerated", "run_length", "evidence", "labels", "errors", "error_fired")


def as_monitor(row: RowMapping) -> Monitor:
    values = dict(row)
    older = {name: values.pop(name) for name in OLDER}
    detectors = json.loads(values.pop("detectors") or "null") or of_older(older)
    pending = values.pop("pending")
    statistics = json.loads(values.pop("statistics"))
    return Monitor(
        adapter_id=values.pop("adapter_id") or None,
        recent=tuple(json.loads(values.pop("recent"))),
        statistics=tuple(Statistic.model_validate(statistic) for statistic in statistics),
        tolerance=DETECTOR.validate_python(detectors["tolerance"]),
        rise=DETECTOR.validate_python(detectors["rise"]),
        pending=Pending(**json.loads(pending)) if pending else None,
        **values,
    )


def of_older(older: JsonObject) -> JsonObject:
    """Return the detectors of a row that a release before this one wrote, which bet on each label;
    an alarm of its time was raised.
    """
    raised = bool(older["error_fired"])
    tolerance = {
        "bar": older["tolerated"],
        "run_length": older["run_length"],
        "evidence": ErrorDetector.evidence if raised else json.loads(older["evidence"]),
        "labels": older["labels"],
        "errors": older["errors"],
        "armed": older["labels"] if raised else 0,
    }
    return {
        "tolerance": tolerance,
        "rise": {"bar": None, "run_length": older["run_length"]},
    }


def as_row(monitor: Monitor) -> JsonObject:
    values = dict(vars(monitor))
    tolerance: ErrorDetector = values.pop("tolerance")
    rise: ErrorDetector = values.pop("rise")
    return values | {
        "adapter_id": monitor.adapter_id or NO_ADAPTER,
        "recent": json.dumps(monitor.recent),
        "statistics": json.dumps([statistic.model_dump() for statistic in monitor.statistics]),
        "tolerated": tolerance.bar,
        "run_length": tolerance.run_length,
        "evidence": json.dumps(tolerance.evidence),
        "labels": tolerance.labels,
        "errors": tolerance.errors,
        "error_fired": int(tolerance.fired),
        "detectors": json.dumps({"tolerance": vars(tolerance), "rise": vars(rise)}),
        "pending": json.dumps(vars(monitor.pending)) if monitor.pending else None,
    }

"""Routes and what is known of their adapters, in the router's own database. Every move is
compare-and-swap on the version.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Integer, MetaData, Row, cast, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import AdapterEvaluated, CalibrationFitted, Probe, ReviewCompleted
from services.router.state import RouteState, RouteView
from services.router.store.tables import Tables, router_tables
from shared.clock import now
from shared.errors import Conflict
from shared.events.outbox import Outbox
from shared.rules.routes import RouteUnknown
from shared.storage.db import insert_once

BASE = ""  # how the base model is written where an adapter id stands


class RouteMoved(Conflict):
    """Somebody else changed the route between our reading and our writing."""

    retryable = True

    def __init__(self, route: str) -> None:
        super().__init__(
            f"{route} was changed by someone else at the same moment; look at it and try again"
        )


class RouteDatabase:
    def __init__(self, metadata: MetaData, outbox: Outbox) -> None:
        self.tables: Tables = router_tables(metadata)
        self.outbox = outbox

    async def find(self, tx: AsyncConnection, route: str) -> RouteState | None:
        table = self.tables.routes
        found = (await tx.execute(select(table.c.state).where(table.c.route == route))).scalar()
        return RouteState.model_validate_json(found) if found else None

    async def load(self, tx: AsyncConnection, route: str) -> RouteState:
        if state := await self.find(tx, route):
            return state
        raise RouteUnknown(route)

    async def save(
        self, tx: AsyncConnection, old: RouteState | None, new: RouteState, because: str, actor: str
    ) -> None:
        """Store the move, its history and its event in this transaction; RouteMoved when `old` is
        no longer the state.
        """
        table = self.tables.routes
        text = new.model_dump_json()
        if old is None:
            stored = await insert_once(
                tx,
                table,
                {"route": new.route, "tenant": new.tenant, "version": new.version, "state": text},
            )
        else:
            unmoved = (table.c.route == new.route) & (table.c.version == old.version)
            stored = (
                await tx.execute(
                    update(table).where(unmoved).values(version=new.version, state=text)
                )
            ).rowcount == 1
        if not stored:
            raise RouteMoved(new.route)
        champion = new.champion.adapter_id if new.champion else None
        challenger = new.challenger.adapter.adapter_id if new.challenger else None
        await tx.execute(
            insert(self.tables.history).values(
                route=new.route,
                version=new.version,
                champion=champion,
                challenger=challenger,
                because=because,
                actor=actor,
                at=now().timestamp(),
                state=text,
            )
        )
        await self.outbox.add(tx, new.as_event(because, actor))

    async def history(
        self, connection: AsyncConnection, route: str, limit: int, before: int | None
    ) -> list[dict[str, Any]]:
        """Newest first."""
        table = self.tables.history
        wanted = (
            (table.c.route == route) & (table.c.version < before)
            if before
            else table.c.route == route
        )
        rows = await connection.execute(
            select(
                table.c.version,
                table.c.champion,
                table.c.challenger,
                table.c.because,
                table.c.actor,
                table.c.at,
            )
            .where(wanted)
            .order_by(table.c.version.desc())
            .limit(limit)
        )
        return [dict(row) for row in rows.mappings()]

    async def served_before(self, tx: AsyncConnection, route: str, adapter_id: str) -> bool:
        table = self.tables.history
        either = (table.c.champion == adapter_id) | (table.c.challenger == adapter_id)
        return (
            await tx.execute(select(table.c.seq).where(table.c.route == route, either).limit(1))
        ).first() is not None

    async def add_evaluation(
        self, tx: AsyncConnection, event: AdapterEvaluated, decision: str
    ) -> bool:
        return await insert_once(
            tx,
            self.tables.evaluations,
            {
                "evaluation_id": event.evaluation_id,
                "route": event.route,
                "adapter_id": event.adapter.adapter_id,
                "verdict": event.verdict,
                "decision": decision,
                "evaluated_at": event.occurred_at.timestamp(),
                "event": event.model_dump_json(),
            },
        )

    async def evaluation(
        self, tx: AsyncConnection, route: str, adapter_id: str
    ) -> AdapterEvaluated | None:
        """The newest evaluation of an adapter."""
        table = self.tables.evaluations
        found = (
            await tx.execute(
                select(table.c.event)
                .where(table.c.route == route, table.c.adapter_id == adapter_id)
                .order_by(table.c.evaluated_at.desc())
                .limit(1)
            )
        ).scalar()
        return AdapterEvaluated.model_validate_json(found) if found else None

    async def add_calibration(self, tx: AsyncConnection, event: CalibrationFitted) -> None:
        await insert_once(
            tx,
            self.tables.calibrations,
            {
                "calibration_id": event.calibration_id,
                "route": event.route,
                "adapter_id": event.adapter_id or BASE,
                "fitted_at": event.occurred_at.timestamp(),
                "event": event.model_dump_json(),
            },
        )

    async def add_outcome(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        await insert_once(
            tx,
            self.tables.outcomes,
            {
                "review_id": event.review_id,
                "route": event.route,
                "inference_id": event.inference_id,
                "arm": event.arm,
                "verdict": event.verdict,
                "adapter_id": event.adapter_id,
                "probability": event.probability,
                "at": event.occurred_at.timestamp(),
            },
        )

    async def start_canary(
        self, tx: AsyncConnection, route: str, adapter_id: str, at: float
    ) -> None:
        await insert_once(
            tx, self.tables.canaries, {"route": route, "adapter_id": adapter_id, "started_at": at}
        )

    async def canary_counts(
        self, connection: AsyncConnection, route: str, adapter_id: str
    ) -> tuple[int, int]:
        """How many requests were given to the challenger, and in how many it failed."""
        table = self.tables.decisions
        failed = func.coalesce(func.sum(cast(table.c.failed, Integer)), 0)
        row = (
            await connection.execute(
                select(func.count(), failed).where(
                    table.c.picked == adapter_id, table.c.route == route
                )
            )
        ).one()
        return row[0], row[1]

    async def decision(
        self, connection: AsyncConnection, tenant: str, inference_id: str
    ) -> str | None:
        table = self.tables.decisions
        wanted = (table.c.inference_id == inference_id) & (table.c.tenant == tenant)
        return (await connection.execute(select(table.c.event).where(wanted))).scalar()

    async def marker(self, connection: AsyncConnection) -> tuple[int, ...]:
        """Moves whenever something the views hold was added. Counts, because ids may commit out of
        order.
        """
        tables = (self.tables.history, self.tables.calibrations, self.tables.canaries)
        counts = [select(func.count()).select_from(table).scalar_subquery() for table in tables]
        return tuple((await connection.execute(select(*counts))).one())

    async def views(self, connection: AsyncConnection) -> dict[str, RouteView]:
        states = [
            RouteState.model_validate_json(row.state)
            for row in await connection.execute(select(self.tables.routes.c.state))
        ]
        wanted = {adapter.adapter_id for state in states for adapter in state.adapters}
        calibrations = _calibrations(
            await self._newest(connection, self.tables.calibrations, wanted | {BASE}, "fitted_at")
        )
        probes = _probes(
            await self._newest(connection, self.tables.evaluations, wanted, "evaluated_at")
        )
        canaries = {
            (row.route, row.adapter_id): row.started_at
            for row in await connection.execute(select(self.tables.canaries))
        }
        return {state.route: _view(state, calibrations, probes, canaries) for state in states}

    async def _newest(
        self, connection: AsyncConnection, table: Any, adapters: set[str], at: str
    ) -> Iterable[Row]:
        """The newest row per route and adapter; ties cannot hurt, the last read wins."""
        newest = (
            select(table.c.route, table.c.adapter_id, func.max(table.c[at]).label("at"))
            .where(table.c.adapter_id.in_(adapters))
            .group_by(table.c.route, table.c.adapter_id)
            .subquery()
        )
        same = (
            (table.c.route == newest.c.route)
            & (table.c.adapter_id == newest.c.adapter_id)
            & (table.c[at] == newest.c.at)
        )
        return await connection.execute(
            select(table.c.route, table.c.adapter_id, table.c.event).join(newest, same)
        )


def _calibrations(rows: Iterable[Row]) -> dict[tuple[str, str], CalibrationFitted]:
    return {
        (row.route, row.adapter_id): CalibrationFitted.model_validate_json(row.event)
        for row in rows
    }


def _probes(rows: Iterable[Row]) -> dict[tuple[str, str], Probe | None]:
    return {
        (row.route, row.adapter_id): AdapterEvaluated.model_validate_json(row.event).probe
        for row in rows
    }


def _view(state: RouteState, calibrations: dict, probes: dict, canaries: dict) -> RouteView:
    ids = [adapter.adapter_id for adapter in state.adapters]
    return RouteView(
        state=state,
        probes={adapter_id: probes.get((state.route, adapter_id)) for adapter_id in ids},
        calibrations={
            adapter_id or None: calibrations[state.route, adapter_id]
            for adapter_id in (BASE, *ids)
            if (state.route, adapter_id) in calibrations
        },
        canary_since=(
            canaries.get((state.route, state.challenger.adapter.adapter_id))
            if state.challenger
            else None
        ),
    )

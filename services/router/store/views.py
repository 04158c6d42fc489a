"""The routes as requests need them, read from the database in one go."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.evaluation import Probe
from schemas.events import AdapterEvaluated, CalibrationFitted
from services.router.state import RouteState, RouteView
from services.router.store.tables import BASE, Tables

Marker = tuple[int, ...]


@dataclass(frozen=True)
class RouteArm:
    """A key: an adapter on one route, or the base model (BASE) there."""

    route: str
    adapter_id: str


@dataclass(frozen=True)
class RouteViews:
    tables: Tables

    async def marker(self, connection: AsyncConnection) -> Marker:
        """Return what moves whenever something was added that the views hold.

        It counts rows, because ids may commit out of order.
        """
        tables = (self.tables.history, self.tables.calibrations, self.tables.canaries)
        counts = [select(func.count()).select_from(table).scalar_subquery() for table in tables]
        return tuple((await connection.execute(select(*counts))).one())

    async def read(self, connection: AsyncConnection) -> dict[str, RouteView]:
        """Return the views of all routes, by route."""
        stored = await connection.execute(select(self.tables.routes.c.state))
        states = [RouteState.model_validate_json(state) for state in stored.scalars()]
        adapters = {adapter.adapter_id for state in states for adapter in state.adapters}
        calibrations = await self._calibrations(connection, adapters | {BASE})
        probes = await self._probes(connection, adapters)
        canaries = await self._canaries(connection)
        return {state.route: view(state, calibrations, probes, canaries) for state in states}

    async def _calibrations(
        self, connection: AsyncConnection, adapters: set[str]
    ) -> dict[str, tuple[CalibrationFitted, ...]]:
        """Return the newest of each arm and population, by route: what a route was before, it may
        be again. Of the base model it is the newest behind each calibration of an adapter, too.
        """
        table = self.tables.calibrations
        population = (table.c.route, table.c.adapter_id, table.c.holds_for, table.c.behind)
        rank = func.row_number().over(partition_by=population, order_by=table.c.fitted_at.desc())
        ranked = (
            select(table.c.route, table.c.event, table.c.fitted_at, rank.label("rank"))
            .where(table.c.adapter_id.in_(adapters))
            .subquery()
        )
        rows = await connection.execute(
            select(ranked.c.route, ranked.c.event)
            .where(ranked.c.rank == 1)
            .order_by(ranked.c.fitted_at)
        )
        found: dict[str, tuple[CalibrationFitted, ...]] = {}
        for row in rows:
            fitted = CalibrationFitted.model_validate_json(row.event)
            found[row.route] = (*found.get(row.route, ()), fitted)
        return found

    async def _probes(
        self, connection: AsyncConnection, adapters: set[str]
    ) -> dict[RouteArm, Probe | None]:
        table = self.tables.evaluations
        found = await newest(connection, table, adapters, "evaluated_at")
        return {
            arm: AdapterEvaluated.model_validate_json(event).probe for arm, event in found.items()
        }

    async def _canaries(self, connection: AsyncConnection) -> dict[RouteArm, float]:
        rows = await connection.execute(select(self.tables.canaries))
        return {RouteArm(row.route, row.adapter_id): row.started_at for row in rows}


async def newest(
    connection: AsyncConnection, table: Table, adapters: set[str], at: str
) -> dict[RouteArm, str]:
    """Return the newest event of each arm as JSON; of a tie it is the one read last."""
    times = (
        select(table.c.route, table.c.adapter_id, func.max(table.c[at]).label("at"))
        .where(table.c.adapter_id.in_(adapters))
        .group_by(table.c.route, table.c.adapter_id)
        .subquery()
    )
    same = (
        (table.c.route == times.c.route)
        & (table.c.adapter_id == times.c.adapter_id)
        & (table.c[at] == times.c.at)
    )
    rows = await connection.execute(
        select(table.c.route, table.c.adapter_id, table.c.event).join(times, same)
    )
    return {RouteArm(row.route, row.adapter_id): row.event for row in rows}


def view(
    state: RouteState,
    calibrations: dict[str, tuple[CalibrationFitted, ...]],
    probes: dict[RouteArm, Probe | None],
    canaries: dict[RouteArm, float],
) -> RouteView:
    route = state.route
    ids = [adapter.adapter_id for adapter in state.adapters]
    challenger = state.challenger.adapter.adapter_id if state.challenger else None
    return RouteView(
        state=state,
        probes={adapter_id: probes.get(RouteArm(route, adapter_id)) for adapter_id in ids},
        calibrations=in_use(calibrations.get(route, ()), ids),
        canary_since=canaries.get(RouteArm(route, challenger)) if challenger else None,
    )


def in_use(
    calibrations: tuple[CalibrationFitted, ...], adapters: list[str]
) -> tuple[CalibrationFitted, ...]:
    """Leave out those of other adapters, and of the base model behind a calibration that is none
    of these any more.
    """
    known = {one.calibration_id for one in calibrations if one.adapter_id in adapters}
    return tuple(
        one
        for one in calibrations
        if one.adapter_id in adapters or (one.adapter_id is None and one.behind in (None, *known))
    )

"""Routes and what is known of their adapters, in the router's own database."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Integer, MetaData, case, cast, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import JsonObject
from schemas.events import AdapterEvaluated, CalibrationFitted, ReviewCompleted
from services.router.rollout import Admission
from services.router.state import RouteState
from services.router.store.tables import BASE, router_tables
from shared.clock import now
from shared.errors import Conflict
from shared.events import Outbox
from shared.rules import RouteUnknown
from shared.storage import insert_once


class RouteMoved(Conflict):
    """Somebody else changed the route between our reading and our writing."""

    retryable = True

    def __init__(self, route: str) -> None:
        super().__init__(
            f"{route} was changed by someone else at the same moment; look at it and try again"
        )


class CanaryCounts(NamedTuple):
    """What became of the requests that a challenger was given."""

    # It answered, or failed.
    asked: int
    # Of those.
    failed: int
    # Further ones, whose callers left before long.
    left: int


class RouteDatabase:
    def __init__(self, metadata: MetaData, outbox: Outbox) -> None:
        self.tables = router_tables(metadata)
        self.outbox = outbox

    async def find(self, tx: AsyncConnection, route: str) -> RouteState | None:
        table = self.tables.routes
        found = (await tx.execute(select(table.c.state).where(table.c.route == route))).scalar()
        return RouteState.model_validate_json(found) if found else None

    async def load(self, tx: AsyncConnection, route: str) -> RouteState:
        """Return the state of a route. Raises RouteUnknown."""
        if state := await self.find(tx, route):
            return state
        raise RouteUnknown(route)

    async def save(
        self,
        tx: AsyncConnection,
        old: RouteState | None,
        new: RouteState,
        because: str,
        actor: str,
        evidence: dict[str, float] | None = None,
    ) -> None:
        """Store a move, its history and its event in this transaction.

        Raises RouteMoved when `old` is no longer the state of the route.
        """
        text = new.model_dump_json()
        if not await self._swap(tx, old, new, text):
            raise RouteMoved(new.route)
        await tx.execute(
            insert(self.tables.history).values(
                route=new.route,
                version=new.version,
                champion=new.champion.adapter_id if new.champion else None,
                challenger=new.challenger.adapter.adapter_id if new.challenger else None,
                because=because,
                actor=actor,
                at=now().timestamp(),
                state=text,
            )
        )
        await self.outbox.add(tx, new.as_event(because, actor, evidence))

    async def _swap(
        self, tx: AsyncConnection, old: RouteState | None, new: RouteState, text: str
    ) -> bool:
        """Store the new state where the route still has the old version; say whether it had."""
        table = self.tables.routes
        if old is None:
            row = {
                "route": new.route,
                "tenant": new.tenant,
                "version": new.version,
                "state": text,
            }
            return await insert_once(tx, table, row)
        unmoved = (table.c.route == new.route) & (table.c.version == old.version)
        swap = update(table).where(unmoved).values(version=new.version, state=text)
        return (await tx.execute(swap)).rowcount == 1

    async def history(
        self, connection: AsyncConnection, route: str, limit: int, before: int | None
    ) -> list[JsonObject]:
        """Return the moves of a route, the newest first; with `before`, of older versions only."""
        table = self.tables.history
        wanted = table.c.route == route
        if before:
            wanted &= table.c.version < before
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
        rows = await tx.execute(select(table.c.seq).where(table.c.route == route, either).limit(1))
        return rows.first() is not None

    async def add_evaluation(
        self, tx: AsyncConnection, event: AdapterEvaluated, decision: Admission
    ) -> bool:
        """Keep an evaluation; return False when it was kept before."""
        row = {
            "evaluation_id": event.evaluation_id,
            "route": event.route,
            "adapter_id": event.adapter.adapter_id,
            "verdict": event.verdict,
            "decision": decision,
            "evaluated_at": event.occurred_at.timestamp(),
            "event": event.model_dump_json(),
        }
        return await insert_once(tx, self.tables.evaluations, row)

    async def evaluation(
        self, tx: AsyncConnection, route: str, adapter_id: str
    ) -> AdapterEvaluated | None:
        """Return the newest evaluation of an adapter."""
        table = self.tables.evaluations
        rows = await tx.execute(
            select(table.c.event)
            .where(table.c.route == route, table.c.adapter_id == adapter_id)
            .order_by(table.c.evaluated_at.desc())
            .limit(1)
        )
        found = rows.scalar()
        return AdapterEvaluated.model_validate_json(found) if found else None

    async def rows_for_five_points(self, connection: AsyncConnection, route: str) -> int | None:
        """Return the held-out rows that the route's newest evaluation says a gain of five points
        needs.
        """
        table = self.tables.evaluations
        rows = await connection.execute(
            select(table.c.event)
            .where(table.c.route == route)
            .order_by(table.c.evaluated_at.desc())
            .limit(1)
        )
        found = rows.scalar()
        if found is None:
            return None
        return AdapterEvaluated.model_validate_json(found).rows_for_five_points

    async def on_calibration_fitted(self, tx: AsyncConnection, event: CalibrationFitted) -> None:
        row = {
            "calibration_id": event.calibration_id,
            "route": event.route,
            "adapter_id": event.adapter_id or BASE,
            "fitted_at": event.occurred_at.timestamp(),
            "holds_for": event.holds_for,
            "behind": event.behind,
            "event": event.model_dump_json(),
        }
        await insert_once(tx, self.tables.calibrations, row)

    async def add_outcome(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        row = {
            "review_id": event.review_id,
            "route": event.route,
            "inference_id": event.inference_id,
            "arm": event.arm,
            "verdict": event.verdict,
            "adapter_id": event.adapter_id,
            "probability": event.probability,
            "at": event.occurred_at.timestamp(),
        }
        await insert_once(tx, self.tables.outcomes, row)

    async def drop_outcome(self, tx: AsyncConnection, review_id: str) -> None:
        table = self.tables.outcomes
        await tx.execute(delete(table).where(table.c.review_id == review_id))

    async def start_canary(
        self, tx: AsyncConnection, route: str, adapter_id: str, at: float
    ) -> None:
        """Note when a canary began (seconds since the epoch), unless it began before."""
        row = {"route": route, "adapter_id": adapter_id, "started_at": at}
        await insert_once(tx, self.tables.canaries, row)

    async def canary_began(
        self, connection: AsyncConnection, route: str, adapter_id: str
    ) -> float | None:
        table = self.tables.canaries
        wanted = (table.c.route == route) & (table.c.adapter_id == adapter_id)
        return (await connection.execute(select(table.c.started_at).where(wanted))).scalar()

    async def canary_counts(
        self, connection: AsyncConnection, route: str, adapter_id: str
    ) -> CanaryCounts:
        table = self.tables.decisions
        failed = func.coalesce(func.sum(cast(table.c.failed, Integer)), 0)
        answered = func.count(table.c.event)
        unanswered_failures = func.coalesce(
            func.sum(case((table.c.event.is_(None), cast(table.c.failed, Integer)), else_=0)), 0
        )
        rows = await connection.execute(
            select(func.count(), failed, answered, unanswered_failures).where(
                table.c.picked == adapter_id, table.c.route == route
            )
        )
        given, broken, told, lost = rows.one()
        return CanaryCounts(told + lost, broken, given - told - lost)

    async def inference(
        self, connection: AsyncConnection, tenant: str, inference_id: str
    ) -> str | None:
        """Return the InferenceRecorded of one request as JSON."""
        table = self.tables.decisions
        wanted = (table.c.inference_id == inference_id) & (table.c.tenant == tenant)
        return (await connection.execute(select(table.c.event).where(wanted))).scalar()

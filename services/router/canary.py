"""A challenger's canary: begun when the adapter is proven to be loaded, ended by its answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from services.router.evidence import Against
from services.router.fleet import Fleet
from services.router.rollout import CanaryRule, Seen
from services.router.state import RouteState, RouteView
from services.router.store.routes import RouteDatabase
from services.router.store.shadows import ShadowStore
from services.router.store.trials import Trials
from services.router.store.waiting import Waiting
from services.router.table import RouteTable
from shared.describing import describe
from shared.storage import Database
from shared.telemetry import log

# Seconds; the database is asked only while a canary runs.
EVERY = 0.25


@dataclass
class Canaries:
    db: Database
    table: RouteTable
    fleet: Fleet
    routes: RouteDatabase
    rule: CanaryRule
    waiting: Waiting
    trials: Trials
    shadows: ShadowStore

    async def run(self) -> None:
        """Run until cancelled: begin, judge and end canaries."""
        while True:
            try:
                for view in list(self.table.views.values()):
                    await self.look(view)
            # The loop outlives a database that is away.
            except Exception as error:  # noqa: BLE001
                log("canary").error(
                    "round failed", kind=type(error).__name__, error=describe(error)[:300]
                )
            await asyncio.sleep(EVERY)

    async def look(self, view: RouteView) -> None:
        """Take the next step of a route's canary, if it has one."""
        challenger = view.state.challenger
        if challenger is None:
            return
        adapter_id = challenger.adapter.adapter_id
        if self.fleet.hopeless(adapter_id):
            why = f"it could not be loaded: {self.fleet.trouble[adapter_id]}"
            await self._move(view, view.state.retracted(), why)
        elif self.fleet.serving(adapter_id):
            if view.canary_since is None:
                await self._start(view.state.route, adapter_id)
            else:
                await self._judge(view, adapter_id)

    async def _start(self, route: str, adapter_id: str) -> None:
        async with self.db.transaction() as tx:
            await self.routes.start_canary(tx, route, adapter_id, time.time())
        await self.table.refresh()

    async def seen(self, connection: AsyncConnection, view: RouteView) -> Seen:
        """Return what a running canary has shown."""
        state = view.state
        if state.challenger is None or view.canary_since is None:
            return Seen(0, 0, 0.0)
        route, adapter_id = state.route, state.challenger.adapter.adapter_id
        old = state.champion.adapter_id if state.champion else None
        began = view.canary_since
        counts = await self.routes.canary_counts(connection, route, adapter_id)
        ordered = await self.trials.comparison(connection, route, adapter_id, old, began)
        shadowed = None
        if state.spec.canary.shadow:
            shadowed = await self.shadows.comparison(connection, route, adapter_id, old, began)
        return Seen(
            counts.asked,
            counts.failed,
            time.time() - began,
            left=counts.left,
            compared=Against(ordered, shadowed),
        )

    async def _judge(self, view: RouteView, adapter_id: str) -> None:
        async with self.db.read() as connection:
            seen = await self.seen(connection, view)
        asking = self.fleet.asking(adapter_id)
        await self.waiting.tell(adapter_id, asking)
        seen = seen._replace(waiting=asking + await self.waiting.elsewhere(adapter_id))
        verdict = self.rule.verdict(seen, view.state.spec.canary.quiet)
        if verdict.move == "promote":
            because = f"canary passed: {verdict.because}"
            await self._move(view, view.state.promoted(time.time()), because, seen.evidence)
        elif verdict.move == "retract":
            because = f"canary stopped: {verdict.because}"
            await self._move(view, view.state.retracted(), because, seen.evidence)

    async def _move(
        self,
        view: RouteView,
        to: RouteState,
        because: str,
        evidence: dict[str, float] | None = None,
    ) -> None:
        """Move the route unless its version changed meanwhile: a rollback in between wins."""
        async with self.db.transaction() as tx:
            if (await self.routes.load(tx, to.route)).version == view.state.version:
                await self.routes.save(tx, view.state, to, because, "router", evidence)
                log("canary").info(
                    "route moved",
                    route=to.route,
                    version=to.version,
                    champion=to.champion and to.champion.adapter_id,
                )
        await self.table.refresh()

"""A challenger's canary: begun when the adapter is proven to be loaded, ended by its answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from services.router.fleet import Fleet
from services.router.rollout import CanaryRule
from services.router.state import RouteState, RouteView
from services.router.store.routes import RouteDatabase
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
                await self._judge(view, adapter_id, time.time() - view.canary_since)

    async def _start(self, route: str, adapter_id: str) -> None:
        async with self.db.transaction() as tx:
            await self.routes.start_canary(tx, route, adapter_id, time.time())
        await self.table.refresh()

    async def _judge(self, view: RouteView, adapter_id: str, elapsed: float) -> None:
        async with self.db.read() as connection:
            counts = await self.routes.canary_counts(connection, view.state.route, adapter_id)
        asking = self.fleet.asking(adapter_id)
        await self.waiting.tell(adapter_id, asking)
        waiting = asking + await self.waiting.elsewhere(adapter_id)
        verdict, why = self.rule.verdict(
            counts.asked, counts.failed, elapsed, waiting=waiting, left=counts.left
        )
        if verdict == "promote":
            await self._move(view, view.state.promoted(), f"canary passed: {why}")
        elif verdict == "retract":
            await self._move(view, view.state.retracted(), f"canary stopped: {why}")

    async def _move(self, view: RouteView, to: RouteState, because: str) -> None:
        """Move the route unless its version changed meanwhile: a rollback in between wins."""
        async with self.db.transaction() as tx:
            if (await self.routes.load(tx, to.route)).version == view.state.version:
                await self.routes.save(tx, view.state, to, because, "router")
                log("canary").info(
                    "route moved",
                    route=to.route,
                    version=to.version,
                    champion=to.champion and to.champion.adapter_id,
                )
        await self.table.refresh()

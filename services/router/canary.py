"""A challenger's canary: begun when it is proven loaded, ended by its own answers, then champion or
gone.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from services.router.fleet import Fleet
from services.router.rollout import CanaryRule
from services.router.state import Routes, RouteState, RouteView
from services.router.table import RouteTable
from shared.storage.db import Database
from shared.telemetry import log

EVERY = 0.25  # seconds; looks at the database only while a canary runs


@dataclass
class Canaries:
    db: Database
    table: RouteTable
    fleet: Fleet
    routes: Routes
    rule: CanaryRule

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                for view in [view for view in self.table.views.values() if view.state.challenger]:
                    await self.look(view)
            except Exception as error:  # noqa: BLE001 - the loop outlives a database that is away
                log("canary").error("round failed", error=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(EVERY)

    async def look(self, view: RouteView) -> None:
        adapter_id = view.state.challenger.adapter.adapter_id
        if self.fleet.hopeless(adapter_id):
            await self._move(
                view,
                view.state.retracted(),
                f"it could not be loaded: {self.fleet.trouble[adapter_id]}",
            )
        elif self.fleet.serving(adapter_id) and view.canary_since is None:
            await self._start(view.state.route, adapter_id)
        elif self.fleet.serving(adapter_id):
            await self._judge(view, adapter_id)

    async def _start(self, route: str, adapter_id: str) -> None:
        async with self.db.transaction() as tx:
            await self.routes.start_canary(tx, route, adapter_id, time.time())
        await self.table.refresh()

    async def _judge(self, view: RouteView, adapter_id: str) -> None:
        async with self.db.read() as connection:
            answered, failed = await self.routes.canary_counts(
                connection, view.state.route, adapter_id
            )
        verdict, why = self.rule.verdict(answered, failed, time.time() - view.canary_since)
        if verdict == "promote":
            await self._move(view, view.state.promoted(), f"canary passed: {why}")
        elif verdict == "retract":
            await self._move(view, view.state.retracted(), f"canary stopped: {why}")

    async def _move(self, view: RouteView, to: RouteState, because: str) -> None:
        """Compare-and-swap on the version: a rollback in between wins."""
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

"""The routes in memory: no request reads the database. Another process's change is seen within
POLL_SECONDS.
"""

from __future__ import annotations

import asyncio

from services.router.chat import RouteNotServed
from services.router.state import Routes, RouteView
from shared.storage.db import Database
from shared.telemetry import log

# one count over two small tables; the loop's two seconds must hold this and the adapter's loading
POLL_SECONDS = 0.2


class RouteTable:
    """Rebuilt when the marker of the database moves; `changed` wakes who loads adapters."""

    def __init__(self, db: Database, routes: Routes) -> None:
        self.db = db
        self.routes = routes
        self.views: dict[str, RouteView] = {}
        self.changed = asyncio.Event()
        self._loaded = asyncio.Event()
        self._marker: tuple[int, ...] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def of(self, route: str, tenant: str) -> RouteView:
        """The route a caller may use."""
        if not self._loaded.is_set():
            await self._loaded.wait()
        view = self.views.get(route)
        if view is None or view.state.tenant != tenant:
            raise RouteNotServed(route)
        return view

    async def owned_by(self, tenant: str) -> list[RouteView]:
        await self._loaded.wait()
        return [view for _, view in sorted(self.views.items()) if view.state.tenant == tenant]

    async def refresh(self) -> None:
        async with self._one_at_a_time, self.db.read() as connection:
            marker = await self.routes.marker(connection)
            if marker == self._marker:
                return
            self.views = await self.routes.views(connection)
            self._marker = marker
        self._loaded.set()
        self.changed.set()

    async def watch(self) -> None:
        """For ever: see what handlers, endpoints and other processes committed."""
        while True:
            try:
                await self.refresh()
            # the router serves from memory while its database is away
            except Exception as error:  # noqa: BLE001
                log("routes").warning(
                    "routes not refreshed, will retry", error=type(error).__name__
                )
            await asyncio.sleep(POLL_SECONDS)

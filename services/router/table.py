"""The routes in memory, so that no request reads the database."""

from __future__ import annotations

import asyncio

from services.router.openai_errors import RouteNotServed
from services.router.state import RouteView
from services.router.store.views import Marker, RouteViews
from shared.storage import Database
from shared.telemetry import log

# How late another process's change is seen. A look costs three counts over small tables.
POLL_SECONDS = 0.2


class RouteTable:
    """Reads the routes again when the marker of the database moves.

    `changed` is set then, which wakes whoever loads adapters.
    """

    def __init__(self, db: Database, stored: RouteViews) -> None:
        self.db = db
        self.stored = stored
        self.views: dict[str, RouteView] = {}
        self.changed = asyncio.Event()
        self._loaded = asyncio.Event()
        self._marker: Marker | None = None
        self._one_at_a_time = asyncio.Lock()

    async def loaded(self) -> None:
        """Return when the routes have been read for the first time."""
        if not self._loaded.is_set():
            await self._loaded.wait()

    async def of(self, route: str, tenant: str) -> RouteView:
        """Return a route of the caller's tenant. Raises RouteNotServed."""
        await self.loaded()
        view = self.views.get(route)
        if view is None and route.startswith(f"{tenant}/"):
            # Another process may have made it a moment ago.
            await self.refresh()
            view = self.views.get(route)
        if view is None or view.state.tenant != tenant:
            raise RouteNotServed(route, self.names(tenant))
        return view

    async def owned_by(self, tenant: str) -> list[RouteView]:
        await self.loaded()
        return [view for _, view in sorted(self.views.items()) if view.state.tenant == tenant]

    def has(self, route: str, tenant: str) -> bool:
        view = self.views.get(route)
        return view is not None and view.state.tenant == tenant

    def names(self, tenant: str) -> list[str]:
        return sorted(name for name, view in self.views.items() if view.state.tenant == tenant)

    async def refresh(self) -> None:
        async with self._one_at_a_time, self.db.read() as connection:
            marker = await self.stored.marker(connection)
            if marker == self._marker:
                return
            self.views = await self.stored.read(connection)
            self._marker = marker
        self._loaded.set()
        self.changed.set()

    async def watch(self) -> None:
        """Run until cancelled: see what handlers, endpoints and other processes committed."""
        while True:
            try:
                await self.refresh()
            # The router serves from memory while its database is away
            except Exception as error:  # noqa: BLE001
                log("routes").warning(
                    "routes not refreshed, will retry", error=type(error).__name__
                )
            await asyncio.sleep(POLL_SECONDS)

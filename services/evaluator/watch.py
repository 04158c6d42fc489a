"""The loop that compares windows and raises drift alarms, outside the handlers.

A window's result, the alarm that follows from it and its event commit together; killed before that,
the window is compared again. The evidence is made first, and an alarm whose evidence fails goes out
without it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.evaluator.rises import Rises
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.windows import Windows
from shared.describing import describe
from shared.errors import Retryable
from shared.storage import Database
from shared.telemetry import log

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Watch:
    """Looks at every route's monitor in turn."""

    db: Database
    monitors: MonitorStore
    windows: Windows
    rises: Rises

    async def run(self) -> None:
        """Run until cancelled. Trouble with one look is logged and the next one tries again."""
        while True:
            try:
                while await self.look():
                    pass
            # It must outlive a locked database.
            except Exception as error:  # noqa: BLE001
                log("watch").error("monitor trouble", error=describe(error))
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> bool:
        """Take one step for every route; return whether there may be more to do at once."""
        async with self.db.read() as connection:
            routes = await self.monitors.routes(connection)
        return any([await self._step(route) for route in routes])

    async def _step(self, route: str) -> bool:
        """Look at one route; what is wrong with it keeps no other from being watched."""
        try:
            async with self.db.read() as connection:
                monitor = await self.monitors.see(connection, route)
            if monitor is None:
                return False
            return (
                await self.rises.counted(monitor)
                or await self.rises.batch(monitor)
                or await self.windows.next(monitor)
            )
        except Retryable:
            raise
        except Exception as error:  # noqa: BLE001
            log("watch").error("monitor trouble", route=route, error=describe(error))
            return False

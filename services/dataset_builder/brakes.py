"""The end of a brake brings no event: who waits for it is looked at again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.dataset_builder.ledger import Ledger
from shared.describing import describe
from shared.storage import Database
from shared.telemetry import log

EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Brakes:
    db: Database
    ledger: Ledger

    async def run(self) -> None:
        """Run until cancelled. Trouble with one look is logged and the next one tries again."""
        while True:
            try:
                await self.look()
            # It must outlive a locked database.
            except Exception as error:  # noqa: BLE001
                log("brakes").error("brake trouble", error=describe(error))
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Consider each route again whose next dataset is held back."""
        async with self.db.read() as connection:
            routes = await self.ledger.builds.held(connection)
        for route in routes:
            async with self.db.transaction() as tx:
                await self.ledger.consider_again(tx, route)

"""Reports, made in child processes and kept as blobs. A report that cannot be made is left out; it
never holds up an event.
"""

from __future__ import annotations

import asyncio
import json
import sys

from schemas.base import BlobRef, JsonObject
from shared.child import ChildDied, run_child
from shared.describing import describe
from shared.storage import BlobStore, private_folder
from shared.telemetry import log

# Seconds. Measured: 3 for an evaluation and 8 for Evidently, on two busy cores.
PATIENCE = 120.0
CHILD_ENVIRONMENT = {"DO_NOT_TRACK": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}


class ChildReports:
    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs

    async def evaluation(self, content: JsonObject) -> BlobRef | None:
        return await self._make("services.evaluator.report", content)

    async def drift(self, content: JsonObject) -> BlobRef | None:
        return await self._make("services.evaluator.evidence", content)

    async def _make(self, module: str, content: JsonObject) -> BlobRef | None:
        """Run a child process on the content.

        The rows pass through a private folder that is gone afterwards: they hold what users wrote.
        """
        with private_folder("ratchet-report") as folder:
            source = folder / "in.json"
            target = folder / "out.html"
            source.write_text(json.dumps(content))
            try:
                async with asyncio.timeout(PATIENCE):
                    await run_child(
                        [sys.executable, "-m", module, str(source), str(target)],
                        _ignore,
                        CHILD_ENVIRONMENT,
                    )
                return await asyncio.to_thread(
                    self.blobs.put_bytes, target.read_bytes(), "reports", ".html"
                )
            except (ChildDied, TimeoutError, OSError) as error:
                log("reports").error("no report", module=module, error=describe(error))
                return None


async def _ignore(message: JsonObject) -> None: ...

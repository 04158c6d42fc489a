"""Reports, made in child processes and kept as blobs. A report that cannot be made is left out; it
never holds up an event.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from schemas.base import BlobRef
from shared.jobs.child import ChildDied, run_child
from shared.storage.blobs import BlobStore
from shared.storage.files import private_folder
from shared.telemetry import log

PATIENCE = 120.0  # seconds; measured 3 s for an evaluation and 8 s for Evidently on two busy cores
CHILD_ENVIRONMENT = {"DO_NOT_TRACK": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}


class ChildReports:
    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs

    async def evaluation(self, content: dict[str, Any]) -> BlobRef | None:
        return await self._make("services.evaluator.report", content)

    async def drift(self, content: dict[str, Any]) -> BlobRef | None:
        return await self._make("services.evaluator.evidence", content)

    async def _make(self, module: str, content: dict[str, Any]) -> BlobRef | None:
        """The rows pass through a private folder that is gone afterwards: they hold what users
        wrote.
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
                log("reports").error("no report", module=module, error=str(error)[-500:])
                return None


async def _ignore(message: dict[str, Any]) -> None: ...

"""Waits between empty fetches, where the broker does not.

Kafka holds a fetch that finds nothing for `fetch_max_wait_ms`; the embedded noida-db answers at once, and aiokafka asks again
at once: 300 fetches a second and 11 % of a core for each idle consumer, a dozen of which took both cores. A broker that waits
by itself is not slowed: the time it waited is subtracted.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from aiokafka.consumer.fetcher import Fetcher

_fetch = Fetcher._proc_fetch_request


async def _patient_fetch(self: Fetcher, assignment: Any, node_id: int, request: Any) -> bool:
    began = time.monotonic()
    found = await _fetch(self, assignment, node_id, request)
    if not found:
        with suppress(asyncio.CancelledError):  # aiokafka cancels and then awaits its fetches: they must end quietly
            await asyncio.sleep(max(0.0, self._fetch_max_wait_ms / 1000 - (time.monotonic() - began)))
    return found


def wait_between_empty_fetches() -> None:
    """aiokafka has no seam for this: its fetcher is patched, once, for the process."""
    Fetcher._proc_fetch_request = _patient_fetch

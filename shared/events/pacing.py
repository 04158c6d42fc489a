"""Keeps idle consumers from spinning on an event log that does not wait for events before it
answers a fetch.

Kafka holds an empty fetch for `fetch.max.wait`; the embedded event log answers at once. aiokafka
then asks again at once: 2,500 fetches/s and 0.4 of a core for each idle consumer, measured, and
Ratchet has twenty. An empty answer that came sooner than EMPTY_FETCH_SECONDS waits for the rest of
them. Against Kafka, which waits longer than that itself, nothing changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiokafka.consumer.fetcher import Fetcher

from shared.events.wrapping import wrap_once

EMPTY_FETCH_SECONDS = (
    0.1  # as Kafka is told to wait (bus.py); adds 50 ms on average to an event on the embedded log
)


def pace_empty_fetches() -> None:
    """aiokafka has no setting for it and no seam, hence its private method."""
    wrap_once(Fetcher, "_proc_fetch_request", paced)


def paced(original: Callable[..., Any]) -> Callable[..., Any]:
    async def fetch(self: Fetcher, *request: Any) -> bool:
        started = time.monotonic()
        found = await original(self, *request)
        if not found:
            try:
                await asyncio.sleep(EMPTY_FETCH_SECONDS - (time.monotonic() - started))
            except asyncio.CancelledError:  # as the original: the result is of no interest any more
                return False
        return found

    return fetch

"""Where we reach into aiokafka, because it offers no public way. Holds for aiokafka 0.14.

Each wrapper names the private method it takes the place of, what happens without it, and the test
that fails when the method goes or the library was mended.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaConnectionError

Method = Callable[..., Any]

# As Kafka is told to wait (bus.py); adds 50 ms on average to an event on the embedded log.
EMPTY_FETCH_SECONDS = 0.1

_broken_connections = 0


def open_seams() -> None:
    """Wrap the three methods, once for the process."""
    wrap_once(AIOKafkaConnection, "send", _surviving_a_closed_connection)
    wrap_once(Fetcher, "_proc_fetch_request", _pacing_empty_fetches)
    wrap_once(AIOKafkaClient, "_on_connection_closed", _counting_broken_connections)


def broken_connections() -> int:
    """Return how many connections to the event log ended without our asking for it."""
    return _broken_connections


def wrap_once(owner: type, method: str, around: Callable[[Method], Method]) -> None:
    """Let `around(original)` take the method's place, however often it is asked for."""
    original = getattr(owner, method)
    if not hasattr(original, "__wrapped__"):
        setattr(owner, method, functools.wraps(original)(around(original)))


def _surviving_a_closed_connection(original: Method) -> Method:
    """Turn uvloop's RuntimeError for a write to a closed connection into what aiokafka expects.

    Otherwise it ends the task that keeps a client's metadata, silently, and its consumer waits for
    metadata for ever: alive, and never in its group again. Seen about once in eight times that a
    log was killed three times; probably what aiokafka #1154 reports.
    Test: tests/integration/test_closed_connections.py, with its negative control.
    """

    def send(self: Any, *request: Any, **options: Any) -> Any:
        try:
            return original(self, *request, **options)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(
                f"Connection at {self.host}:{self.port} is closed"
            ) from error

    return send


def _pacing_empty_fetches(original: Method) -> Method:
    """Keep idle consumers from spinning on a log that does not wait before it answers a fetch.

    Kafka holds an empty fetch for `fetch.max.wait`; the embedded event log answers at once, and
    aiokafka asks again at once: 2,500 fetches/s and 0.4 of a core for each idle consumer, measured,
    and Ratchet has twenty. An empty answer that came sooner than EMPTY_FETCH_SECONDS waits for the
    rest of them. Against Kafka nothing changes. Test: tests/integration/test_embedded_log.py.
    """

    async def fetch(self: Any, *request: Any) -> Any:
        started = time.monotonic()
        found = await original(self, *request)
        if not found:
            try:
                await asyncio.sleep(EMPTY_FETCH_SECONDS - (time.monotonic() - started))
            except asyncio.CancelledError:  # as the original: nobody wants the result any more
                return False
        return found

    return fetch


def _counting_broken_connections(original: Method) -> Method:
    """Count the connections that broke, since aiokafka tells nobody.

    A log can only have lost events if a connection broke first (log_guard.py).
    Test: tests/integration/test_broker_loss.py.
    """

    def closed(self: Any, connection: Any, reason: Any) -> None:
        global _broken_connections  # noqa: PLW0603 - counts for the process
        if reason != CloseReason.SHUTDOWN:
            _broken_connections += 1
        original(self, connection, reason)

    return closed

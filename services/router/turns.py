"""Whose turn it is to ask the engine: so many at once, the others wait, each tenant in a line.

A plain semaphore is first come, first served: a tenant that sends a thousand requests is served a
thousand times before the next one is. Here each tenant has a line of its own, and a place that
becomes free goes to the one with the fewest requests at the engine.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque

from prometheus_client import Gauge

from services.router.metrics import QUEUE_SECONDS
from shared.errors import RatchetError, Retryable

WAITING = Gauge("ratchet_router_waiting", "Requests that wait for their turn at the engine")


class TenantBusy(RatchetError):
    """The engine is full, and most of those who wait are this tenant's."""

    status = 429
    retry_after = 1

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} requests of this tenant wait for the model server already: send fewer at"
            " once, and this one again"
        )


class WaitedTooLong(Retryable):
    """No place at the engine became free in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the model server was busy for {seconds:g} seconds: send the request again"
        )


class Turns:
    """Hands out `at_once` places; at most `waiting` requests wait for one, each for `seconds`.

    When the lines are full, the newest of the longest line is sent away, so that a tenant that
    fills them makes no room scarce but its own.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float) -> None:
        self.at_once = at_once
        self.waiting = waiting
        self.seconds = seconds
        self._running: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def running(self) -> int:
        return self._running.total()

    @property
    def is_full(self) -> bool:
        return bool(self._lines) or self.running >= self.at_once

    async def take(self, tenant: str) -> None:
        """Wait for a place at the engine, to be given back by `leave`.

        Raises TenantBusy and WaitedTooLong.
        """
        if self.is_full:
            await self._wait(tenant)
        else:
            self._running[tenant] += 1

    async def _wait(self, tenant: str) -> None:
        self._make_room(tenant)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(tenant, deque()).append(place)
        WAITING.inc()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.seconds):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave(tenant)  # it came in the same moment
            else:
                self._forget(tenant, place)
            if isinstance(error, TimeoutError):
                raise WaitedTooLong(self.seconds) from error
            raise
        finally:
            WAITING.dec()
            QUEUE_SECONDS.observe(time.perf_counter() - began)

    def _make_room(self, tenant: str) -> None:
        """Raise TenantBusy where the lines are full and no tenant has a longer one."""
        if sum(map(len, self._lines.values())) < self.waiting:
            return
        longest = max(self._lines, key=lambda name: len(self._lines[name]))
        own = len(self._lines.get(tenant, ()))
        if own >= len(self._lines[longest]) - 1:
            raise TenantBusy(own)
        place = self._lines[longest][-1]
        self._forget(longest, place)
        place.set_exception(TenantBusy(len(self._lines.get(longest, ()))))

    def _forget(self, tenant: str, place: asyncio.Future[None]) -> None:
        line = self._lines.get(tenant)
        if line and place in line:
            line.remove(place)
            if not line:
                del self._lines[tenant]

    def leave(self, tenant: str) -> None:
        """Give a place back, to the tenant with the fewest requests at the engine."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        if not self._lines:
            return
        following = min(self._lines, key=lambda name: self._running[name])
        place = self._lines[following].popleft()
        # The last of equals next time.
        line = self._lines.pop(following)
        if line:
            self._lines[following] = line
        self._running[following] += 1
        place.set_result(None)

"""Calls that outlive a restart: any service may be killed while the demo runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from shared.errors import RatchetError

PATIENCE_SECONDS = 120.0
Found = TypeVar("Found")


class GaveUp(RatchetError):
    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"{what} after {seconds:.0f} s: 'ratchet status' and the logs in the demo's home"
            " say why"
        )


class Refused(RatchetError):
    def __init__(self, response: httpx.Response) -> None:
        super().__init__(
            f"{response.request.method} {response.request.url} answered {response.status_code}:"
            f" {response.text[:500]}"
        )


async def patiently(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Repeat a call while its service is away (connection refused, 5xx); refusals raise at once."""
    began = time.monotonic()
    while True:
        try:
            response = await call()
            said = str(response.status_code)
            if response.status_code < 400:
                return response
            if response.status_code < 500:
                raise Refused(response)
        except httpx.TransportError:
            said = "unreachable"
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise GaveUp(f"no answer ({said})", PATIENCE_SECONDS)
        await asyncio.sleep(0.5)


async def until(
    condition: Callable[[], Awaitable[Found | None]], what: str, seconds: float, every: float = 0.4
) -> Found:
    """Wait for `condition` to return something true and return it."""
    began = time.monotonic()
    while not (found := await condition()):
        if time.monotonic() - began > seconds:
            raise GaveUp(f"{what} did not happen", seconds)
        await asyncio.sleep(every)
    return found

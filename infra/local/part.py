"""What the supervisor is told about one part of the system."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from shared.errors import RatchetError

# Loopback speaks plain HTTP. Without this each client loads the system's certificates: 30 ms of
# CPU, five times a second.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
Probe = Callable[[], Awaitable[bool]]
Prepare = Callable[[], Awaitable[None]]


class PartUnknown(RatchetError):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no part '{name}': choose from {', '.join(known)}")


@dataclass(frozen=True)
class Part:
    """A process to supervise, or with an empty `argv` one that somebody else runs.

    `probe` says whether it is ready. `alive` is asked for as long as it lives: a part that stops
    saying yes is killed and started again. Lower stages are stopped first. The log of a `chatty`
    part goes to its file, and the stream shows only its warnings. `kind`: which event log it is.
    """

    name: str
    argv: tuple[str, ...]
    url: str
    probe: Probe
    env: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    alive: Probe | None = None
    after: str | None = None
    prepare: Prepare | None = None
    nice: int = 0
    stage: int = 0
    stop_seconds: float = 10.0
    chatty: bool = False
    kind: str = ""


async def answers(
    url: str, check: Callable[[httpx.Response], bool] = lambda response: response.is_success
) -> bool:
    """Say whether a GET succeeds, without the environment's proxies: all local is on loopback."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5, verify=NO_TLS) as client:
            return check(await client.get(url))
    except (httpx.HTTPError, OSError, ValueError):
        return False


async def service_is_ready(url: str) -> bool:
    return await answers(
        f"{url}/health/ready",
        lambda response: response.is_success and response.json().get("consuming") is True,
    )


async def service_is_alive(url: str) -> bool:
    return await answers(f"{url}/health/live")


async def port_is_open(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True

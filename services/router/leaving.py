"""Work for a client that may leave: without it nobody waits for the answer."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request


async def has_left(request: Request) -> None:
    """Return when the client has closed its connection. The body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def ends_unless_left(
    request: Request, working: asyncio.Task[Any], seconds: float | None = None
) -> bool:
    """Wait for a task, for at most `seconds`; say whether it has ended.

    Cancels it when the client leaves, and raises ClientDisconnect.
    """
    leaving = asyncio.create_task(has_left(request))
    try:
        done, _ = await asyncio.wait(
            {working, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    except asyncio.CancelledError:
        await cancelled(working)
        raise
    finally:
        await cancelled(leaving)
    if leaving in done and not working.done():
        await cancelled(working)
        raise ClientDisconnect
    return working.done()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait({task})

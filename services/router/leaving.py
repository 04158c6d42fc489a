"""Work for a client that may leave: without it nobody waits for the answer."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from starlette.requests import ClientDisconnect, Request

# To watch a connection costs a task, some 15 us: an answer that comes sooner needs none.
UNWATCHED_SECONDS = 0.05


async def has_left(request: Request) -> None:
    """Return when the client has closed its connection. The body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class UnlessLeft:
    """Cancels what is done within it when the client leaves, and raises ClientDisconnect."""

    __slots__ = ("_has_left", "_request", "_task", "_timer", "_watching")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._has_left = False
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(UNWATCHED_SECONDS, self._watch)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watching:
            self._watching.cancel()
        if self._has_left and self._task:
            self._task.uncancel()
            if isinstance(error, asyncio.CancelledError):
                raise ClientDisconnect from error

    def _watch(self) -> None:
        self._watching = asyncio.create_task(self._cancel_when_left())

    async def _cancel_when_left(self) -> None:
        await has_left(self._request)
        if self._task:
            self._has_left = True
            self._task.cancel()


async def ends_unless_left(
    request: Request,
    working: asyncio.Task[Any],
    seconds: float,
    begun: asyncio.Future[None] | None = None,
) -> bool:
    """Wait for a task, for at most `seconds` or until it has `begun`; say whether it has ended.

    Cancels it when the client leaves, and raises ClientDisconnect.
    """
    try:
        async with UnlessLeft(request):
            either: set[asyncio.Future[Any]] = {working, begun} if begun else {working}
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    except (asyncio.CancelledError, ClientDisconnect):
        await cancelled(working)
        raise
    return working.done()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait({task})

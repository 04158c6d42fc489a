"""Questions to the engine over kept connections: one POST, one answer.

aiohttp's session takes 100 us of CPU for that, as much as all else that the router does with a
request; this takes a quarter, with the parser by which uvicorn reads. What is streamed, and what
administers the engine, goes by aiohttp.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NamedTuple

from httptools import HttpParserError, HttpResponseParser
from yarl import URL


class NotReached(ConnectionError):
    """Nobody listens there, or not in time: nothing was asked."""


class ClosedOn(ConnectionError):
    """The server closed the connection, or what it sent is no HTTP."""


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str


class Line(asyncio.Protocol):
    """One connection, with one question at a time."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.idle_since = 0.0
        self.is_open = True
        self.has_answered = False
        self._parser = HttpResponseParser(self)
        self._asked: asyncio.Future[Answer] | None = None

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        self._body: list[bytes] = []
        self._retry_after = ""
        self.has_answered = False
        self._asked = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.has_answered = True
        if self._asked is None:
            # Nobody asked: what comes next could be taken for an answer.
            self._end(ClosedOn("words without a question"))
            return
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._end(ClosedOn(type(error).__name__))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        asked, self._asked = self._asked, None
        self.is_open = self.is_open and self._parser.should_keep_alive()
        if asked and not asked.done():
            status = self._parser.get_status_code()
            asked.set_result(Answer(status, b"".join(self._body), self._retry_after))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error if isinstance(error, OSError) else ClosedOn("before the answer"))

    def close(self) -> None:
        self.is_open = False
        self.transport.abort()

    def _end(self, error: OSError) -> None:
        asked, self._asked = self._asked, None
        self.close()
        if asked and not asked.done():
            asked.set_exception(error)


class Questions:
    """Asks one address; as many connections as there are questions at once."""

    def __init__(
        self, url: URL, headers: dict[str, str], connect_seconds: float, idle_seconds: float
    ) -> None:
        """Make it for an address; an idle connection is kept for `idle_seconds`."""
        self._url = url
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        sent = {"host": url.authority, "accept": "application/json", **headers}
        lines = [f"POST {url.raw_path_qs} HTTP/1.1", *(f"{n}: {v}" for n, v in sent.items())]
        self._head = "\r\n".join([*lines, "content-length: "]).encode("latin-1")
        # The one that was used last is at the end.
        self._idle: deque[Line] = deque()

    async def ask(self, body: bytes, seconds: float) -> Answer:
        """Return the answer. Raises NotReached, TimeoutError, and OSError where it breaks off.

        A connection that the server closes at the moment in which it is used again was idle for too
        long, so the question goes out once more. Who is cancelled closes the connection.
        """
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        line = self._kept()
        if line:
            try:
                return await self._ask(line, request, seconds)
            except ConnectionError:
                if line.has_answered:
                    raise
        return await self._ask(await self._connected(), request, seconds)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _ask(self, line: Line, request: bytes, seconds: float) -> Answer:
        loop = asyncio.get_running_loop()
        asked = line.ask(request)
        timer = loop.call_later(seconds, _expire, asked)
        try:
            answer = await asked
        except BaseException:
            line.close()
            raise
        finally:
            timer.cancel()
        if line.is_open:
            line.idle_since = loop.time()
            self._idle.append(line)
        else:
            line.close()
        return answer

    def _kept(self) -> Line | None:
        """Return an open connection; close those that were idle for too long."""
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()
        while self._idle:
            line = self._idle.pop()
            if line.is_open:
                return line
        return None

    async def _connected(self) -> Line:
        secure = True if self._url.scheme == "https" else None
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, line = await asyncio.get_running_loop().create_connection(
                    Line, self._url.host or "", self._url.port or 80, ssl=secure
                )
        except (OSError, TimeoutError) as error:
            raise NotReached(type(error).__name__) from error
        return line


def _expire(asked: asyncio.Future[Answer]) -> None:
    if not asked.done():
        asked.set_exception(TimeoutError())

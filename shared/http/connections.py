"""Connections that cannot be held for ever: uvicorn's, with time limits and a most.

uvicorn limits neither the time nor the size of a head, nor the time of a body, and it asks an
application only when a head is complete: 300 half-sent requests stopped a service with 256
descriptors, and no middleware can see them. Its protocol class can be given (`http=`), and what is
added here are marks of time at its own callbacks, which cost well under a microsecond each; one
timer looks at all connections every half second.

There is no bound for each address: behind a proxy all clients have one. When too many connections
are open, those that wait for nothing but their client go first, the longest-waiting before the
others, so that an honest client, whose request is complete in milliseconds, is not among them.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, ClassVar

from prometheus_client import Counter
from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.settings import ServiceSettings

CUT = Counter("ratchet_connections_cut_total", "Connections that were closed on", ["because"])
LOOK_SECONDS = 0.5
HEAD_BYTES = 64 * 1024
MOST_HEADERS = 100
# Requests that a client may send before it has the answer to the first.
MOST_PIPELINED = 16
# What a body may need on the wire beyond its own bytes: chunks have a frame each.
FRAME_BYTES = 256 * 1024
# An eighth at once, so that a flood does not make each newcomer look at all of them.
EVICTED_SHARE = 8


class Waits(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    NEXT = auto()  # kept alive: for a next request, which uvicorn's own timer ends
    CLOSE = auto()


@dataclass
class Connections:
    """The connections of one server, and what they may cost."""

    most: int
    head_seconds: float
    body_seconds: float
    keep_alive_seconds: float
    body_bytes: int
    open: dict[Connection, None] = field(default_factory=dict)
    _looking: asyncio.TimerHandle | None = None

    def joined(self, connection: Connection) -> None:
        """Add a connection, the oldest first; where there are too many, make room."""
        self.open[connection] = None
        if self._looking is None:
            self._looking = connection.loop.call_later(LOOK_SECONDS, self._look, connection.loop)
        if len(self.open) > self.most:
            self._make_room()

    def _make_room(self) -> None:
        idle = [one for one in self.open if one.waits_for not in (Waits.ANSWER, Waits.CLOSE)]
        # a body that is on its way has a whole head before it, and most often a key
        idle.sort(key=lambda one: (one.waits_for is Waits.BODY, one.since))
        for one in idle[: max(1, len(self.open) // EVICTED_SHARE)]:
            one.cut("too many")

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has waited for its client too long."""
        now = loop.time()
        for one in list(self.open):
            one.judge(now)
        self._looking = loop.call_later(LOOK_SECONDS, self._look, loop) if self.open else None


class TooMuch(Exception):
    """Ends a connection out of a callback of the parser: uvicorn answers 400 and closes."""


class Connection(HttpToolsProtocol):
    """One connection of uvicorn, which knows since when it waits, and for what."""

    all: ClassVar[Connections]
    waits_for = Waits.HEAD
    arriving: Waits | None = None  # the part of a request that has begun and is not complete
    since = 0.0
    received = 0  # bytes of the request that is being received
    unread_since: float | None = None  # since when the client takes nothing of what it was sent

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._now_waits(Waits.HEAD)
        self.all.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.open.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.waits_for is Waits.HEAD and self.received > HEAD_BYTES + FRAME_BYTES:
            self.cut("head too large")
            return
        if self.waits_for is Waits.BODY and self.received > self._most_received:
            self.cut("body too large")
            return
        was_kept = self.waits_for is Waits.NEXT
        super().data_received(data)
        if was_kept and self.waits_for is Waits.NEXT:
            # Any byte ends uvicorn's timer, also one that begins no request.
            self.received = 0
            self._now_waits(Waits.HEAD)
        if self.arriving is Waits.HEAD and self.received > HEAD_BYTES:
            self._refuse(431, "HeadTooLarge", f"the head is larger than {HEAD_BYTES} bytes")

    @property
    def _most_received(self) -> int:
        return 2 * self.all.body_bytes + FRAME_BYTES

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.received = 0
        self._arrives(Waits.HEAD)

    def on_headers_complete(self) -> None:
        if len(self.headers) > MOST_HEADERS or len(self.pipeline) >= MOST_PIPELINED:
            raise TooMuch
        super().on_headers_complete()
        self._arrives(Waits.BODY)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.arriving = None
        answered = self.cycle is not None and self.cycle.response_complete
        self._now_waits(Waits.NEXT if answered else Waits.ANSWER)

    def on_response_complete(self) -> None:
        """Wait for what comes next: a request that was sent already, or that has begun to be."""
        answering = bool(self.pipeline)
        super().on_response_complete()
        if self.waits_for is Waits.ANSWER and (self.arriving or not answering):
            self._now_waits(self.arriving or Waits.NEXT)

    def _arrives(self, part: Waits) -> None:
        """Note what comes in; while a request is answered the client owes nothing."""
        self.arriving = part
        if self.waits_for is not Waits.ANSWER:
            self._now_waits(part)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread_since = None

    def judge(self, now: float) -> None:
        """Close the connection if its client has had the time it gets."""
        waited = now - self.since
        if self.unread_since is not None and now - self.unread_since > self.all.body_seconds:
            self.cut("answer not read")
        elif self.waits_for is Waits.CLOSE:
            if waited > self.all.head_seconds:
                self.cut("answer not read")
        # closed by uvicorn, which waits for the client to read without end
        elif self.transport.is_closing():
            self._now_waits(Waits.CLOSE)
        elif self.waits_for is Waits.HEAD and waited > self.all.head_seconds:
            self.cut("head too slow")
        # uvicorn sets no timer where the answer was complete before the body
        elif self.waits_for is Waits.NEXT and waited > self.all.keep_alive_seconds + LOOK_SECONDS:
            self.cut("next request too slow")
        elif self.waits_for is Waits.BODY and waited > self.all.body_seconds:
            self._refuse(
                408,
                "BodyTooSlow",
                f"the body did not arrive within {self.all.body_seconds:g} seconds: send it again",
            )

    def cut(self, because: str) -> None:
        """Close at once, whatever is still to be written."""
        CUT.labels(because).inc()
        self._now_waits(Waits.CLOSE)
        self.transport.abort()

    def _refuse(self, status: int, name: str, detail: str) -> None:
        """Answer in place of the application, unless it did, and close."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if self.pipeline or (answering and cycle.response_started):
            self.cut(name)
            return
        if answering:
            cycle.disconnected = True
            cycle.message_event.set()
        elif self.arriving is Waits.BODY:  # answered already, of a body that never ended
            self.cut(name)
            return
        CUT.labels(name).inc()
        body = to_json({"error": name, "detail": detail})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self._now_waits(Waits.CLOSE)
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _now_waits(self, what: Waits) -> None:
        self.waits_for = what
        self.since = self.loop.time()


def connection_class(settings: ServiceSettings) -> type[Connection]:
    """Make the class of one server's connections, which know each other."""
    connections = Connections(
        min(settings.max_connections, descriptors() // 2),
        settings.head_seconds,
        settings.body_seconds,
        settings.keep_alive_seconds,
        settings.max_body_bytes,
    )
    return type("Connection", (Connection,), {"all": connections})


def descriptors() -> int:
    """Return how many files this process may open, after asking for as many as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard

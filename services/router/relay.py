"""One answer of an upstream on its way to the app: byte by byte, as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import ClientError, ClientResponse
from fastapi import Request, Response
from prometheus_client import Counter, Histogram
from starlette.types import Receive, Scope, Send

from schemas.base import JsonObject
from services.router.leaving import cancelled, ends_unless_left
from services.router.metrics import SECONDS
from services.router.openai_errors import body_of
from services.router.other_upstreams import OtherUpstreamBroke
from services.router.recordings import Exchange, Recordings
from services.router.shapes import COMPLETIONS, RESPONSES
from services.router.streaming import EVENTS
from services.router.upstream_settings import OtherUpstream

PASSED = Counter(
    "ratchet_router_passed_total",
    "Requests that went to another upstream, by its status or what went wrong",
    ["upstream", "status"],
)
PASSED_SECONDS = Histogram(
    "ratchet_router_passed_seconds",
    "Time from the request to the last byte of an answer that was passed on",
    ["upstream"],
    buckets=SECONDS,
)
# Of one connection (RFC 9110, section 7.6.1), of the upstream's own site, and what the server that
# answers here says itself.
NOT_PASSED = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "alt-svc",
    "date",
    "server",
    "set-cookie",
    "strict-transport-security",
}
# Longer than any answer takes: its upstream has limits of its own.
LONGEST_SECONDS = 86_400.0
# Of an answer that is to be recorded.
MOST_HEARD = 8 * 1024 * 1024


@dataclass
class Listener:
    """Keeps a copy of what is passed on, for the record."""

    recordings: Recordings
    tenant: str
    route: str
    inference_id: str
    door: str
    sent: JsonObject
    session: str | None
    began: datetime
    _said: list[bytes] = field(default_factory=list)
    _size: int = 0

    def hear(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MOST_HEARD:
            self._said.append(piece)
        else:
            self._said.clear()

    def ended(self, is_stream: bool, seconds: float) -> None:
        """Hand over what was said, whole."""
        if self._size > MOST_HEARD:
            self.lost(f"larger than {MOST_HEARD} bytes")
            return
        self.recordings.add(
            Exchange(
                tenant=self.tenant,
                route=self.route,
                inference_id=self.inference_id,
                door=self.door,
                sent=self.sent,
                session=self.session,
                said=b"".join(self._said),
                is_stream=is_stream,
                occurred_at=self.began,
                latency_ms=seconds * 1000,
            )
        )

    def lost(self, why: str) -> None:
        self.recordings.lost(self.inference_id, why)


class Relay(Response):
    """Gives an app the answer of an upstream; a caller that leaves closes the connection to it."""

    def __init__(
        self,
        upstream: OtherUpstream,
        came: ClientResponse,
        door: str,
        request_id: str,
        started: float,
        listener: Listener | None,
    ) -> None:
        self.upstream = upstream
        self.came = came
        self.door = door
        self.started = started
        self.listener = listener
        # Told what came of it.
        self.on_end: Callable[[str], None] | None = None
        self.is_stream = came.content_type == EVENTS
        self.background = None
        self.status_code = came.status
        self.raw_headers = list(kept_headers(came))
        self.raw_headers.append((b"x-ratchet-request-id", request_id.encode()))
        self.raw_headers.append((b"x-ratchet-upstream", upstream.name.encode()))
        if self.is_stream and "x-accel-buffering" not in came.headers:
            # Else nginx would gather the stream.
            self.raw_headers.append((b"x-accel-buffering", b"no"))
        if listener:
            self.raw_headers.append((b"x-ratchet-inference-id", listener.inference_id.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        relaying = asyncio.create_task(self._relay(send))
        outcome = "left"
        try:
            await ends_unless_left(Request(scope, receive), relaying, LONGEST_SECONDS)
            outcome = relaying.result()
        except OtherUpstreamBroke:
            outcome = "broke off"
            raise
        finally:
            await cancelled(relaying)
            # A connection that still has something to say is closed, by which the upstream stops.
            self.came.close()
            PASSED.labels(self.upstream.name, outcome).inc()
            seconds = time.perf_counter() - self.started
            PASSED_SECONDS.labels(self.upstream.name).observe(seconds)
            if self.on_end:
                self.on_end(outcome)
            if self.listener and outcome == "broke off":
                self.listener.lost(outcome)
            # A client may close its connection as soon as it has read the end: what was heard says
            # whether that was it.
            elif self.listener:
                self.listener.ended(self.is_stream, seconds)

    async def _relay(self, send: Send) -> str:
        """Pass everything on; return the status, or what went wrong with a stream."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        try:
            while piece := await self._next():
                if self.listener:
                    self.listener.hear(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (ClientError, TimeoutError) as error:
            broke = OtherUpstreamBroke(self.upstream.name, type(error).__name__)
            # Elsewhere the missing end of the body says so: the connection is closed before it.
            if not self.is_stream:
                raise broke from error
            await send({"type": "http.response.body", "body": self._failure(broke)})
            return "broke off"
        await send({"type": "http.response.body", "body": b""})
        return str(self.status_code)

    async def _next(self) -> bytes:
        async with asyncio.timeout(self.upstream.idle_seconds):
            return await self.came.content.readany()

    def _failure(self, broke: OtherUpstreamBroke) -> bytes:
        # What came before may have ended in the middle of a line.
        shape = RESPONSES if self.door == "responses" else COMPLETIONS
        return b"\n\n" + shape.failure(body_of(broke))


def kept_headers(came: ClientResponse) -> Iterator[tuple[bytes, bytes]]:
    """Yield what an upstream says that holds for the app, too."""
    named = {name.strip().lower() for name in came.headers.get("connection", "").split(",")}
    for name, value in came.raw_headers:
        lower = name.lower()
        if (plain := lower.decode("latin-1")) not in NOT_PASSED and plain not in named:
            yield lower, value

"""Models that are no routes: what is asked of them goes to the upstream that has them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from fastapi import Request, Response
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from schemas.base import JsonObject, uuid7
from services.router.chat import as_object
from services.router.leaving import cancelled, ends_unless_left
from services.router.openai_errors import MOST_NAMED, BadRequest, RouteNotServed
from services.router.other_upstreams import (
    OtherUpstreamAway,
    OtherUpstreamKeyRefused,
    OtherUpstreamMoved,
    OtherUpstreams,
)
from services.router.recordings import Recordings
from services.router.relay import LONGEST_SECONDS, PASSED, Listener, Relay
from services.router.table import RouteTable
from services.router.tracing import Call, Tracing
from services.router.upstream_settings import OtherUpstream
from shared.clock import now
from shared.describing import describe
from shared.errors import NotFound, RatchetError
from shared.http import Principal

# What an upstream is told of the caller's headers; above all no key, no cookie and no address.
FORWARDED = (
    "accept",
    "idempotency-key",
    "openai-beta",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-client-request-id",
)
# Connections to one upstream.
AT_ONCE = 512
EMBEDDINGS = "embeddings"
MODEL_CHARACTERS = 200


class NoEmbeddings(NotFound):
    """No route answers with numbers."""

    def __init__(self, model: str, known: list[str]) -> None:
        super().__init__(
            f"no upstream of this router has the embedding model '{model[:100]}', and routes answer"
            " with text: whoever runs the router adds one that has it to ROUTER_UPSTREAMS_FILE"
            + (f"; there are {', '.join(known)}" if known else "")
        )
        self.param = "model"


class RouteToRecordUnknown(NotFound):
    def __init__(self, route: str) -> None:
        super().__init__(
            f"x-ratchet-route: no route '{route[:100]}' for this key; nothing was asked. GET"
            " /v1/models lists yours"
        )


@dataclass(frozen=True)
class Wanted:
    """That an exchange is to be recorded, and as what."""

    route: str
    inference_id: str


class Passing:
    """Passes requests on, and answers back, byte by byte."""

    def __init__(
        self,
        table: RouteTable,
        upstreams: OtherUpstreams,
        recordings: Recordings,
        tracing: Tracing | None,
    ) -> None:
        self.table = table
        self.upstreams = upstreams
        self.recordings = recordings
        self.tracing = tracing
        self._session: ClientSession | None = None

    async def passed(
        self, request: Request, caller: Principal, door: str, body: bytes
    ) -> Response | None:
        """Return the answer of the upstream that has the model; None where a route is asked.

        Raises RouteNotServed where nobody has the model.
        """
        await self.table.loaded()
        sent = as_object(body)
        model = sent.get("model")
        # What is wrong with it is told where a route is asked.
        if not isinstance(model, str) or self.is_route(model, caller.tenant):
            return None
        upstream = self.upstreams.find(model, caller.tenant)
        if upstream is None:
            routes = self.table.names(caller.tenant)[: MOST_NAMED // 2]
            known = [*routes, *self.upstreams.named(caller.tenant)]
            raise RouteNotServed(model, known)
        return await self._pass_on(request, caller, upstream, door, sent)

    async def embeddings(self, request: Request, caller: Principal) -> Response:
        """Raises NoEmbeddings where no upstream has the model."""
        sent = as_object(await request.body())
        model = sent.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= MODEL_CHARACTERS:
            raise BadRequest(f"model: a text of 1 to {MODEL_CHARACTERS} characters", "model")
        if request.headers.get("x-ratchet-route"):
            raise BadRequest("x-ratchet-route: vectors are not recorded: leave that header out")
        upstream = await self.find(model, caller.tenant)
        if upstream is None:
            raise NoEmbeddings(model, self.upstreams.named(caller.tenant))
        return await self._pass_on(request, caller, upstream, EMBEDDINGS, sent)

    async def find(self, model: str, tenant: str) -> OtherUpstream | None:
        """Return the upstream that a model of this name would be asked of."""
        await self.table.loaded()
        if self.is_route(model, tenant):
            return None
        return self.upstreams.find(model, tenant)

    def is_route(self, model: str, tenant: str) -> bool:
        """Say whether a name is a route's, of anybody, or would be one of the caller's.

        A name that begins with the caller's tenant goes nowhere else: it was mistyped, and the
        question is not for others to read.
        """
        return model in self.table.views or model.startswith(f"{tenant}/")

    async def _pass_on(
        self,
        request: Request,
        caller: Principal,
        upstream: OtherUpstream,
        door: str,
        sent: JsonObject,
    ) -> Response:
        wanted = self._wanted(request, caller)
        began, started = now(), time.perf_counter()
        call = Call.of(request, door, upstream.name, None) if self.tracing else None
        try:
            came = await self._asked(request, upstream, door, sent)
        except (RatchetError, ClientDisconnect) as error:
            if self.tracing and call:
                self.tracing.note(call, {}, type(error).__name__)
            raise
        ok = 200 <= came.status < 300
        listener = None
        if wanted and ok:
            listener = self._listener(request, caller, wanted, door, sent, began)
        relay = Relay(upstream, came, door, request.state.request_id, started, listener)
        if self.tracing and call:
            # A model that was answered for is one, whatever a client may write there.
            known = replace(call, model=sent["model"] if ok else None)
            relay.on_end = partial(self.tracing.passed, known, came.status)
        return relay

    def _wanted(self, request: Request, caller: Principal) -> Wanted | None:
        """Return what the app wants recorded. Raises RouteToRecordUnknown."""
        given = request.headers.get("x-ratchet-route")
        if given is None:
            return None
        name = given if "/" in given else f"{caller.tenant}/{given}"
        if not self.table.has(name, caller.tenant):
            raise RouteToRecordUnknown(given)
        return Wanted(name, uuid7())

    def _listener(
        self,
        request: Request,
        caller: Principal,
        wanted: Wanted,
        door: str,
        sent: JsonObject,
        began: datetime,
    ) -> Listener:
        return Listener(
            recordings=self.recordings,
            tenant=caller.tenant,
            route=wanted.route,
            inference_id=wanted.inference_id,
            door=door,
            sent=sent,
            session=request.headers.get("x-ratchet-session"),
            began=began,
        )

    async def _asked(
        self, request: Request, upstream: OtherUpstream, door: str, sent: JsonObject
    ) -> ClientResponse:
        """Return the answer as soon as its head is there. A caller that leaves stops it."""
        asking = asyncio.create_task(self._ask(request, upstream, door, sent))
        try:
            await ends_unless_left(request, asking, LONGEST_SECONDS)
            came = asking.result()
        except (ClientError, TimeoutError) as error:
            self._note(upstream, f"away: {describe(error)}")
            PASSED.labels(upstream.name, "away").inc()
            raise OtherUpstreamAway(upstream.name, type(error).__name__) from error
        except BaseException:
            PASSED.labels(upstream.name, "left").inc()
            await cancelled(asking)
            raise
        self._note(upstream, f"answered {came.status}")
        if came.status == 401 or 300 <= came.status < 400:
            PASSED.labels(upstream.name, str(came.status)).inc()
            came.close()
            if came.status == 401:
                raise OtherUpstreamKeyRefused(upstream)
            raise OtherUpstreamMoved(upstream.name)
        return came

    async def _ask(
        self, request: Request, upstream: OtherUpstream, door: str, sent: JsonObject
    ) -> ClientResponse:
        headers = {name: value for name in FORWARDED if (value := request.headers.get(name))}
        # Uncompressed: what is recorded is read, and what is passed on stays as it is.
        headers |= {"content-type": "application/json", "accept-encoding": "identity"}
        if key := self.upstreams.keys[upstream]:
            headers["authorization"] = f"Bearer {key}"
        limits = ClientTimeout(total=None, sock_connect=upstream.connect_seconds)
        if self._session is None:
            self._session = self._opened()
        async with asyncio.timeout(upstream.first_byte_seconds):
            return await self._session.post(
                f"{upstream.url}/{door}",
                # What was read and judged, not what was sent: two fields of one name are one here.
                data=to_json(sent),
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            )

    def _note(self, upstream: OtherUpstream, what: str) -> None:
        self.upstreams.state[upstream.name] = what

    def _opened(self) -> ClientSession:
        return ClientSession(
            connector=TCPConnector(limit=0, limit_per_host=AT_ONCE),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("user-agent",),
        )

    async def close(self) -> None:
        """Store and send what waits, and close the connections."""
        await self.recordings.close()
        if self._session:
            await self._session.close()
        if self.tracing:
            await self.tracing.close()

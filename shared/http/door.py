"""What every request passes before anything of its body is read: its key, its allowance, its size.

FastAPI reads and parses a body before it asks a dependency who sent it: 4 MiB of JSON without a key
cost 0.2 s of the event loop each. Here the key comes first, for everything under `/v1/`; endpoints
only check its scope (`require`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property

from fastapi import FastAPI
from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import Invalid, RatchetError
from shared.http.allowance import Allowances
from shared.http.auth import Keyring, Principal, Unauthenticated
from shared.http.errors import as_response, unexpected_response
from shared.http.visits import Head, head_of, log_access, with_request_id
from shared.telemetry import REQUEST_ID, log

ABANDONED = Counter(
    "ratchet_requests_abandoned_total", "Requests whose client left before it had the answer"
)
KEYED = "/v1/"
# Probes must be answered however many others ask.
HEALTH = "/health/"
# Of a body without a key: a login form needs a few hundred.
OPEN_BODY_BYTES = 16 * 1024
# What reads its body itself, and bounds what it reads. Elsewhere FastAPI has the standard library
# parse it: 0.3 s of the event loop for 4 MiB of `[],`, and a verdict, all escapes, needs 0.8 MB.
LARGE = (
    "/v1/inferences",
    "/v1/feedback",
    "/v1/chat/",
    "/v1/responses",
    "/v1/completions",
    "/v1/embeddings",
)
SMALL_BODY_BYTES = 1024 * 1024

Visitor = Callable[[Keyring, Mapping[str, str]], Awaitable[Principal | None]]
"""Finds who is behind the cookies of a request: for pages, which have sessions in place of keys."""
Refusal = Callable[[str, RatchetError], Response]
"""Renders an error for a path; the router's chat endpoints have OpenAI's shape."""
Direct = Mapping[tuple[str, str], ASGIApp]
"""Endpoints by method and path."""


class NulInAddress(Invalid):
    """A path or a query with a NUL: no id has one, and PostgreSQL refuses it in every text."""

    def __init__(self) -> None:
        super().__init__("the address contains the NUL character (%00); remove it")


class Door:
    """Lets requests in (ASGI). It is the place, too, where what nobody caught becomes a 500, and
    where a client that left is no error. Every answer names its request (`x-request-id`).
    """

    def __init__(
        self, app: ASGIApp, api: FastAPI, allowances: Allowances, most: int, access_log: bool
    ) -> None:
        self.app = app
        self.api = api
        self.allowances = allowances
        self.most = most
        self.access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = head_of(scope)
        REQUEST_ID.set(head.request_id)
        scope.setdefault("state", {})["request_id"] = head.request_id
        began = time.perf_counter()
        started: Message | None = None

        async def answer(message: Message) -> None:
            nonlocal started
            if started is None:
                started = with_request_id(message, head.request_id)
                message = started
            await send(message)

        try:
            await self._let_in(scope, head, receive, answer)
        except ClientDisconnect:
            ABANDONED.inc()
            log("http").debug("the client left", path=scope["path"])
        # It would reach the server's own log, with a traceback that prints what was sent.
        except Exception as error:  # noqa: BLE001
            response = self._refused(scope["path"], error)
            if started is None:
                await response(scope, receive, answer)
        finally:
            if self.access_log:
                seconds = time.perf_counter() - began
                log_access(scope, started, seconds, self._addresses)

    @cached_property
    def _addresses(self) -> frozenset[str]:
        """Return the addresses that /openapi.json names, found once in 42 ms."""
        return frozenset(self.api.openapi()["paths"])

    async def _let_in(self, scope: Scope, head: Head, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if "\0" in path or b"%00" in scope["query_string"]:
            raise NulInAddress
        keyring: Keyring = self.api.state.keyring
        principal = keyring.authenticate(head.secret) if head.secret else None
        if principal is None and path.startswith(KEYED):
            raise Unauthenticated
        visitor: Visitor | None = getattr(self.api.state, "visitor", None)
        who = principal
        if who is None and visitor:
            who = await visitor(keyring, HTTPConnection(scope).cookies)
        scope["state"]["principal"] = principal
        most = OPEN_BODY_BYTES if who is None else SMALL_BODY_BYTES
        if who and path.startswith(LARGE):
            most = self.most
        limited = BodyLimit(receive, head.size, min(self.most, most))
        if path.startswith(HEALTH):
            await self.app(scope, limited.receive, send)
            return
        app = self._direct(scope["method"], path) if principal else self.app
        read = limited.receive if who else await small_body(limited.receive)
        accounts = self.allowances.enter(who)
        try:
            await app(scope, read, send)
        finally:
            self.allowances.leave(accounts)

    def _direct(self, method: str, path: str) -> ASGIApp:
        """Return what answers: an endpoint that needs nothing of the framework, or the framework.

        To find and call one through FastAPI costs as much as a model's answer takes to read, check
        and write.
        """
        direct: Direct = getattr(self.api.state, "direct", {})
        return direct.get((method, path), self.app)

    def _refused(self, path: str, error: Exception) -> Response:
        refusal: Refusal = getattr(self.api.state, "refusal", as_response)
        if isinstance(error, RatchetError):
            return refusal(path, error)
        return unexpected_response(path, error)


async def small_body(receive: Receive) -> Receive:
    """Wait for a body, and return what gives it to the application.

    All who have no key share one allowance: 64 bodies that drip would use it up for the others.
    """
    messages: list[Message] = []
    failure: HTTPException | None = None
    try:
        while not messages or messages[-1].get("more_body"):
            messages.append(await receive())
    except HTTPException as error:
        failure = error

    async def kept() -> Message:
        if messages:
            return messages.pop(0)
        if failure:
            raise failure
        return await receive()

    return kept


class BodyLimit:
    """Refuses a large body where it is read, so that the 413 has the shape of the endpoint
    (FastAPI's own limit answers in plain text).
    """

    __slots__ = ("_receive", "most", "seen", "size")

    def __init__(self, receive: Receive, size: int, most: int) -> None:
        self._receive = receive
        self.size = size
        self.most = most
        self.seen = 0

    async def receive(self) -> Message:
        if self.size <= self.most:
            message = await self._receive()
            self.seen += len(message.get("body", b""))
            if self.seen <= self.most:
                return message
        raise HTTPException(413, f"the body is larger than {self.most} bytes: send less at once")

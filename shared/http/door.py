"""What every request passes before anything of its body is read: its key, its allowance, its size.

FastAPI reads and parses a body before it asks a dependency who sent it: 4 MiB of JSON without a key
cost 0.2 s of the event loop each. Here the key comes first, for everything under `/v1/`; endpoints
only check its scope (`require`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

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
from shared.telemetry import log

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
LARGE = ("/v1/inferences", "/v1/feedback", "/v1/chat/", "/v1/responses", "/v1/completions")
SMALL_BODY_BYTES = 1024 * 1024
# More digits than any size has; `int` refuses thousands of them with an error of its own.
SIZE_DIGITS = 15

Visitor = Callable[[Keyring, Mapping[str, str]], Awaitable[Principal | None]]
"""Finds who is behind the cookies of a request: for pages, which have sessions in place of keys."""
Refusal = Callable[[str, RatchetError], Response]
"""Renders an error for a path; the router's chat endpoints have OpenAI's shape."""


class NulInAddress(Invalid):
    """A path or a query with a NUL: no id has one, and PostgreSQL refuses it in every text."""

    def __init__(self) -> None:
        super().__init__("the address contains the NUL character (%00); remove it")


class Door:
    """Lets requests in (ASGI). It is the place, too, where what nobody caught becomes a 500, and
    where a client that left is no error.
    """

    def __init__(self, app: ASGIApp, api: FastAPI, allowances: Allowances, most: int) -> None:
        self.app = app
        self.api = api
        self.allowances = allowances
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._let_in(scope, receive, answer)
        except ClientDisconnect:
            ABANDONED.inc()
            log("http").debug("the client left", path=scope["path"])
        # It would reach the server's own log, with a traceback that prints what was sent.
        except Exception as error:  # noqa: BLE001
            response = self._refused(scope["path"], error)
            if not started:
                await response(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if "\0" in path or b"%00" in scope["query_string"]:
            raise NulInAddress
        secret, size = credentials_and_size(scope)
        keyring: Keyring = self.api.state.keyring
        principal = keyring.authenticate(secret) if secret else None
        if principal is None and path.startswith(KEYED):
            raise Unauthenticated
        visitor: Visitor | None = getattr(self.api.state, "visitor", None)
        who = principal
        if who is None and visitor:
            who = await visitor(keyring, HTTPConnection(scope).cookies)
        scope.setdefault("state", {})["principal"] = principal
        most = OPEN_BODY_BYTES if who is None else SMALL_BODY_BYTES
        if who and path.startswith(LARGE):
            most = self.most
        limited = BodyLimit(receive, size, min(self.most, most))
        if path.startswith(HEALTH):
            await self.app(scope, limited.receive, send)
            return
        read = limited.receive if who else await small_body(limited.receive)
        accounts = self.allowances.enter(who)
        try:
            await self.app(scope, read, send)
        finally:
            self.allowances.leave(accounts)

    def _refused(self, path: str, error: Exception) -> Response:
        refusal: Refusal = getattr(self.api.state, "refusal", as_response)
        if isinstance(error, RatchetError):
            return refusal(path, error)
        return unexpected_response(path, error)


def credentials_and_size(scope: Scope) -> tuple[str | None, int]:
    """Return the bearer key of a request, if it sent one, and the size it declares for its body."""
    secret = None
    size = 0
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, given = value.decode("latin-1").partition(" ")
            secret = given.strip() if scheme.lower() == "bearer" else None
        elif name == b"content-length" and value.isdigit():
            size = int(value[:SIZE_DIGITS])
    return secret, size


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

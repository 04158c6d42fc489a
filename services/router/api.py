"""HTTP in, for apps: chat completions and the caller's routes as models, as OpenAI has them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from schemas.base import JsonObject
from services.router import described
from services.router.answers import ChatAnswer, completion_headers
from services.router.chat import ChatLimits, ChatQuestion, question_of
from services.router.gateway import Gateway
from services.router.leaving import UnlessLeft
from services.router.live import Live
from services.router.openai_route import OpenAIRoute, direct
from services.router.passing import Passing
from services.router.repeats import Repeatable, Repeats
from services.router.shapes import CHAT, COMPLETIONS, RESPONSES, Shape
from services.router.streaming import stream
from services.router.table import RouteTable
from services.router.tracing import PROVIDER, Call
from shared.http import Direct, Id, Principal, require

SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?")
Caller = Annotated[Principal, Depends(require("infer"))]


@dataclass(frozen=True)
class ChatApi:
    table: RouteTable
    gateway: Gateway
    repeats: Repeats
    limits: ChatLimits
    passing: Passing

    async def chat_completions(self, request: Request, caller: Caller) -> Response:
        """`model` is "tenant/route". Text in, text out, streamed or not; the answer is durable
        before it is given. A caller that leaves stops the question.
        """
        return await self._answer(request, caller, CHAT)

    async def responses(self, request: Request, caller: Caller) -> Response:
        """Answer the same by the Responses API, which keeps no state here."""
        return await self._answer(request, caller, RESPONSES)

    async def completions(self, request: Request, caller: Caller) -> Response:
        """Answer the same by the older completions: `prompt` is a user's message."""
        return await self._answer(request, caller, COMPLETIONS)

    async def _answer(self, request: Request, caller: Principal, shape: Shape) -> Response:
        session = request.headers.get("x-ratchet-session")
        body = await body_of(request)
        if self.passing.upstreams:
            passed = await self.passing.passed(request, caller, shape.door, body)
            if passed:
                return passed
        asked = question_of(shape.read(body), session, self.limits)
        # For the access log, which must not say what is no route.
        if self.table.has(asked.route, caller.tenant):
            request.scope["state"]["route"] = asked.route
        if asked.wishes.stream:
            live = Live()
            answering = asyncio.create_task(
                self._followed(request, caller, shape, asked, body, live)
            )
            return await stream(request, answering, shape, asked, live)
        async with UnlessLeft(request):
            answered = await self._followed(request, caller, shape, asked, body)
        return AsJson(to_json(shape.body(answered)), completion_headers(answered))

    async def _followed(
        self,
        request: Request,
        caller: Principal,
        shape: Shape,
        asked: ChatQuestion,
        body: bytes,
        live: Live | None = None,
    ) -> ChatAnswer:
        """Have it answered, and traced where somebody listens."""
        answer = self._ask(request, caller, asked, body, live)
        tracing = self.passing.tracing
        if tracing is None:
            return await answer
        known: str | None = request.scope["state"].get("route")
        return await tracing.followed(Call.of(request, shape.door, PROVIDER, known), answer)

    async def _ask(
        self,
        request: Request,
        caller: Principal,
        asked: ChatQuestion,
        body: bytes,
        live: Live | None = None,
    ) -> ChatAnswer:
        """Have it answered, or find what was answered to the same request before."""
        waits = seconds_of(request)
        given = request.headers.get("idempotency-key")
        if given is None:
            return await self.gateway.answer(caller.tenant, asked, waits, live=live)

        # Kept for others that ask, it is not passed on to one as it comes.
        def ask(sent: Repeatable) -> Coroutine[Any, Any, ChatAnswer]:
            return self.gateway.answer(caller.tenant, asked, waits, sent)

        return await self.repeats.answer(Repeatable.of(given, caller, request.url.path, body), ask)

    async def models(self, caller: Caller) -> JsonObject:
        views = await self.table.owned_by(caller.tenant)
        others = self.passing.upstreams.models(caller.tenant)
        data = [
            *(listed(view.state.route, view.state.tenant) for view in views),
            *(listed(name, upstream.name) for name, upstream in others),
        ]
        return {"object": "list", "data": data}

    async def model(self, name: Id, caller: Caller) -> JsonObject:
        upstream = await self.passing.find(name, caller.tenant)
        if upstream:
            return listed(name, upstream.name)
        view = await self.table.of(name, caller.tenant)
        return listed(view.state.route, view.state.tenant)

    async def embeddings(self, request: Request, caller: Caller) -> Response:
        """Passed on to the upstream that has the model; routes answer with text."""
        return await self.passing.embeddings(request, caller)


class AsJson(Response):
    """A body of JSON with headers of ours: Starlette would look through them for what it adds."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]


def chat_api(api: ChatApi) -> APIRouter:
    """Make the endpoints that OpenAI's clients call."""
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)
    router.post("/chat/completions", openapi_extra=described.chat())(api.chat_completions)
    router.post("/responses", openapi_extra=described.responses())(api.responses)
    router.post("/completions", openapi_extra=described.completions())(api.completions)
    router.post("/embeddings", openapi_extra=described.embeddings())(api.embeddings)
    router.get("/models")(api.models)
    router.get("/models/{name:path}")(api.model)
    return router


def called_directly(api: ChatApi) -> Direct:
    """Return those of them that the door calls by itself."""
    return {
        ("POST", "/v1/chat/completions"): direct(api.chat_completions),
        ("POST", "/v1/responses"): direct(api.responses),
        ("POST", "/v1/completions"): direct(api.completions),
    }


async def body_of(request: Request) -> bytes:
    """Read a body. Starlette's own `body` costs 30 us: it goes through an asynchronous generator,
    which the event loop registers.
    """
    pieces = []
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def seconds_of(request: Request) -> float | None:
    """Return how long the caller waits, where its client says so, as OpenAI's do."""
    said = request.headers.get("x-stainless-read-timeout", "")
    return float(said) if SECONDS.fullmatch(said) else None


def listed(model: str, owner: str) -> JsonObject:
    return {"id": model, "object": "model", "created": 0, "owned_by": owner}

"""HTTP in, for apps: chat completions and the caller's routes as models, as OpenAI has them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json

from schemas.base import JsonObject
from services.router.answers import ChatAnswer, completion_headers
from services.router.chat import ChatLimits, ChatQuestion, question_of
from services.router.gateway import Gateway
from services.router.leaving import ends_unless_left
from services.router.openai_route import OpenAIRoute
from services.router.repeats import Repeatable, Repeats
from services.router.shapes import CHAT, COMPLETIONS, RESPONSES, Shape
from services.router.state import RouteView
from services.router.streaming import stream
from services.router.table import RouteTable
from shared.http import Id, Principal, require

SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?")
Caller = Annotated[Principal, Depends(require("infer"))]


@dataclass(frozen=True)
class ChatApi:
    table: RouteTable
    gateway: Gateway
    repeats: Repeats
    limits: ChatLimits

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
        body = await request.body()
        asked = question_of(shape.read(body), session, self.limits)
        answering = self._answering(request, caller, asked, body)
        if asked.wishes.stream:
            return await stream(request, answering, shape, asked.wishes.usage_in_stream)
        await ends_unless_left(request, answering)
        answered = answering.result()
        return Response(
            to_json(shape.body(answered)),
            media_type="application/json",
            headers=completion_headers(answered),
        )

    def _answering(
        self, request: Request, caller: Principal, asked: ChatQuestion, body: bytes
    ) -> asyncio.Task[ChatAnswer]:
        """Begin to answer, or find what was answered to the same request before."""
        waits = seconds_of(request)
        given = request.headers.get("idempotency-key")
        if given is None:
            return asyncio.create_task(self.gateway.answer(caller.tenant, asked, waits))

        def ask(sent: Repeatable) -> Coroutine[Any, Any, ChatAnswer]:
            return self.gateway.answer(caller.tenant, asked, waits, sent)

        sent = Repeatable.of(given, caller, request.url.path, body)
        return self.repeats.answering(sent, ask)

    async def models(self, caller: Caller) -> JsonObject:
        views = await self.table.owned_by(caller.tenant)
        return {"object": "list", "data": [as_model(view) for view in views]}

    async def model(self, name: Id, caller: Caller) -> JsonObject:
        return as_model(await self.table.of(name, caller.tenant))


def chat_api(
    table: RouteTable, gateway: Gateway, repeats: Repeats, limits: ChatLimits
) -> APIRouter:
    """Make the endpoints that OpenAI's clients call."""
    api = ChatApi(table, gateway, repeats, limits)
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)
    router.post("/chat/completions")(api.chat_completions)
    router.post("/responses")(api.responses)
    router.post("/completions")(api.completions)
    router.get("/models")(api.models)
    router.get("/models/{name:path}")(api.model)
    return router


def seconds_of(request: Request) -> float | None:
    """Return how long the caller waits, where its client says so, as OpenAI's do."""
    said = request.headers.get("x-stainless-read-timeout", "")
    return float(said) if SECONDS.fullmatch(said) else None


def as_model(view: RouteView) -> JsonObject:
    return {"id": view.state.route, "object": "model", "created": 0, "owned_by": view.state.tenant}

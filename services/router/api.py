"""HTTP in, for apps: chat completions and the caller's routes as models, as OpenAI has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json

from schemas.base import JsonObject
from services.router.chat import ChatLimits, completion_body, completion_headers, parse
from services.router.gateway import Gateway
from services.router.openai_route import OpenAIRoute
from services.router.state import RouteView
from services.router.table import RouteTable
from shared.http import Id, Principal, require

Caller = Annotated[Principal, Depends(require("infer"))]


@dataclass(frozen=True)
class ChatApi:
    table: RouteTable
    gateway: Gateway
    limits: ChatLimits

    async def chat_completions(self, request: Request, caller: Caller) -> Response:
        """`model` is "tenant/route". Text in, text out; the answer is durable before it is returned."""  # noqa: E501
        session = request.headers.get("x-ratchet-session")
        asked = parse(await request.body(), session, self.limits)
        answered = await self.gateway.answer(caller.tenant, asked)
        return Response(
            to_json(completion_body(answered)),
            media_type="application/json",
            headers=completion_headers(answered),
        )

    async def models(self, caller: Caller) -> JsonObject:
        views = await self.table.owned_by(caller.tenant)
        return {"object": "list", "data": [as_model(view) for view in views]}

    async def model(self, name: Id, caller: Caller) -> JsonObject:
        return as_model(await self.table.of(name, caller.tenant))


def chat_api(table: RouteTable, gateway: Gateway, limits: ChatLimits) -> APIRouter:
    """Make the endpoints that OpenAI's clients call."""
    api = ChatApi(table, gateway, limits)
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)
    router.post("/chat/completions")(api.chat_completions)
    router.get("/models")(api.models)
    router.get("/models/{name:path}")(api.model)
    return router


def as_model(view: RouteView) -> JsonObject:
    return {"id": view.state.route, "object": "model", "created": 0, "owned_by": view.state.tenant}

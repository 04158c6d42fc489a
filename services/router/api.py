"""HTTP in, for apps: chat completions and the caller's routes as models, as OpenAI's clients expect
them.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json

from services.router.chat import completion, headers, parse
from services.router.openai_route import OpenAIRoute
from services.router.state import RouteView
from shared.http.auth import Principal, require

router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)
Caller = Annotated[Principal, Depends(require("infer"))]


@router.post("/chat/completions")
async def chat_completions(request: Request, caller: Caller) -> Response:
    """`model` is "tenant/route". Text in, text out; the answer is durable before it is returned."""
    state = request.app.state
    asked = parse(await request.body(), request.headers.get("x-ratchet-session"), state.limits)
    answered = await state.gateway.answer(caller.tenant, asked)
    return Response(
        to_json(completion(answered)), media_type="application/json", headers=headers(answered)
    )


@router.get("/models")
async def models(request: Request, caller: Caller) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [as_model(view) for view in await request.app.state.table.owned_by(caller.tenant)],
    }


@router.get("/models/{name:path}")
async def model(request: Request, name: str, caller: Caller) -> dict[str, Any]:
    return as_model(await request.app.state.table.of(name, caller.tenant))


def as_model(view: RouteView) -> dict[str, Any]:
    return {"id": view.state.route, "object": "model", "created": 0, "owned_by": view.state.tenant}

"""A small real HTTP server that stands for somebody else's OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TEXT = "Your parcel arrives tomorrow."
CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "find_parcel", "arguments": '{"number": 7}'},
}


def chat(text: str | None = TEXT, **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-big-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text} | message,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None} | more
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-big-2026",
        "choices": [choice],
    }


def events(*parts: object) -> list[bytes]:
    said = [part if isinstance(part, str) else json.dumps(part) for part in parts]
    return [f"data: {one}\n\n".encode() for one in said]


PIECES = events(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Your parcel "}),
    chunk({"content": "arrives tomorrow."}),
    chunk({}, finish_reason="stop"),
    {
        "choices": [],
        "model": "gpt-big-2026",
        "usage": {"prompt_tokens": 11, "completion_tokens": 5},
    },
    "[DONE]",
)
VECTORS = {
    "object": "list",
    "model": "embed-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


class OtherUpstreamStandIn:
    """Answers as told; remembers what it was asked, and who left."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.left = 0
        self.status = 200
        self.headers = {"x-request-id": "req-of-theirs"}
        self.body: Any = None
        self.pieces = PIECES
        # Seconds before the head, and before the pieces from the third on.
        self.silent = 0.0
        self.between = 0.0
        self.breaks_off = False
        # Seconds for which a stream stays open after its end was said.
        self.lingers = 0.0
        self.app = Starlette(
            routes=[
                Route("/v1/{door:path}", self.answer, methods=["POST"]),
            ]
        )

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append((request.path_params["door"], dict(request.headers), body))
        if self.silent and await self.abandoned(request, self.silent):
            return Response()
        if body.get("stream") and self.status == 200:
            return StreamingResponse(
                self.streamed(), media_type="text/event-stream", headers=self.headers
            )
        answer = self.body
        if answer is None:
            answer = VECTORS if request.path_params["door"] == "embeddings" else chat()
        return JSONResponse(answer, self.status, self.headers)

    async def abandoned(self, request: Request, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return False
        self.left += 1
        return True

    async def streamed(self) -> AsyncIterator[bytes]:
        try:
            for number, piece in enumerate(self.pieces):
                if number > 1:
                    await asyncio.sleep(self.between)
                yield piece
                if piece.endswith(b"[DONE]\n\n"):
                    await asyncio.sleep(self.lingers)
                if self.breaks_off and number == 2:
                    raise ConnectionError
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise

"""A small real HTTP server that speaks vLLM's API, and servers run inside a test's own loop."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

Answer = tuple[str, float]  # text, and the logprob of its only token


class FakeVllm:
    """Answers by model name; loads adapters by name and path as vLLM 0.32 does, with its errors."""

    def __init__(self, answers: Callable[[str, list[dict]], Answer] | None = None) -> None:
        self.answers = answers or (
            lambda model, _: ("delivery", -0.2 if model == "base" else -0.05)
        )
        self.adapters: dict[str, str] = {}
        self.asked: list[dict] = []
        self.calls: list[tuple[str, str]] = []
        self.fail_load: tuple[int, str] | None = None
        self.fail_chat: dict[str, tuple[int, str]] = {}
        # Seconds before an answer, by model; None: for ever.
        self.slow: dict[str, float | None] = {}
        # Questions whose asker closed the connection before there was an answer.
        self.abandoned: list[str] = []
        # Changes what a model's completion holds.
        self.bend: Callable[[str, dict], None] = lambda model, completion: None
        # Says of a request whether the grammar cannot hold what it asks for.
        self.refuses: Callable[[dict], bool] = lambda body: False
        # What /version says; nothing where there is no such page.
        self.release: str | None = None
        # What a model calls of the tools it was offered: names and arguments; None for a text.
        self.calls_of: Callable[[dict], list[tuple[str, str]] | None] = lambda body: None
        # Of a stream: the pieces, what is waited for before the second, and after how many it
        # breaks off: with an error of the engine, or without a word.
        self.pieces: Callable[[str], list[str]] = lambda text: re.findall(r"\s*\S+", text)
        self.goes_on: asyncio.Event | None = None
        self.breaks_after: int | None = None
        self.says_why = True
        self.fail_tokenize: tuple[int, str] | None = None
        # Writes a conversation as the base model's chat template does; None: it has none.
        self.template: Callable[[list[dict]], str] | None = None
        self.root: str | None = None
        self.tokens: Callable[[str], int] = len
        self.counted: list[str] = []
        self.counting = self.counting_most = 0
        self.app = Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/version", self.version),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/tokenize", self.tokenize, methods=["POST"]),
                Route("/v1/load_lora_adapter", self.load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self.unload, methods=["POST"]),
            ]
        )

    def restart(self) -> None:
        """A new process: it has forgotten every adapter."""
        self.adapters.clear()

    async def models(self, _: Request) -> Response:
        return JSONResponse(
            {
                "object": "list",
                "data": [
                    {"id": "base", "object": "model", "root": self.root, "parent": None},
                    *({"id": name, "object": "model", "parent": "base"} for name in self.adapters),
                ],
            }
        )

    async def version(self, _: Request) -> Response:
        if self.release is None:
            return failure(404, "Not Found")
        return JSONResponse({"version": self.release})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        model = body["model"]
        if model != "base" and model not in self.adapters:
            return failure(404, f"The model `{model}` does not exist.")
        if model in self.slow and await self.abandons(request, model):
            return Response()
        if model in self.fail_chat:
            return failure(*self.fail_chat[model])
        if self.refuses(body):
            return failure(400, 'Grammar error: Unimplemented keys: ["uniqueItems"]')
        if body.get("stream"):
            return StreamingResponse(self.stream(body), media_type="text/event-stream")
        text, logprob = self.answers(model, body["messages"])
        answer = completion(text, logprob)
        if calls := self.calls_of(body):
            call(answer, calls)
        for number in range(1, body.get("n", 1)):
            drawn = completion(f"{text} {number}", logprob)["choices"][0]
            answer["choices"].append(drawn | {"index": number})
        self.bend(model, answer)
        return JSONResponse(answer)

    async def stream(self, body: dict) -> AsyncIterator[str]:
        """As vllm/entrypoints/openai of 0.32: a role, the pieces, the end, the usage."""
        text, logprob = self.answers(body["model"], body["messages"])
        try:
            yield event(choice={"delta": {"role": "assistant", "content": ""}})
            for number, piece in enumerate(self.pieces(text)):
                if number == 1 and self.goes_on:
                    await self.goes_on.wait()
                if number == self.breaks_after:
                    if self.says_why:
                        yield 'data: {"error": {"message": "EngineCore died", "code": 500}}\n\n'
                    return
                token = completion(piece, logprob)["choices"][0]["logprobs"]["content"][0]
                logprobs = {"content": [token]}
                yield event(choice={"delta": {"content": piece}, "logprobs": logprobs})
            yield event(choice={"delta": {}, "finish_reason": "stop"})
            yield event(usage={"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12})
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.abandoned.append(body["model"])
            raise

    async def abandons(self, request: Request, model: str) -> bool:
        """Wait as vLLM computes: until the answer is due, or nobody is there to have it."""
        try:
            async with asyncio.timeout(self.slow[model]):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return False
        self.abandoned.append(model)
        return True

    async def tokenize(self, request: Request) -> Response:
        """As vllm/entrypoints/serve/tokenize of 0.32: one prompt, no list."""
        if self.fail_tokenize:
            status, text = self.fail_tokenize
            return failure(status, text) if status >= 400 else PlainTextResponse(text)
        body = await request.json()
        if "messages" in body:
            return self.rendered(body)
        assert isinstance(body["prompt"], str) and body["add_special_tokens"] is False
        if body["model"] != "base":
            return failure(404, f"The model `{body['model']}` does not exist.")
        self.counting += 1
        self.counting_most = max(self.counting, self.counting_most)
        await asyncio.sleep(0)
        self.counting -= 1
        self.counted.append(body["prompt"])
        count = self.tokens(body["prompt"])
        return JSONResponse({"count": count, "max_model_len": 2048, "tokens": [0] * count})

    def rendered(self, body: dict) -> Response:
        if self.template is None:
            return failure(
                400, "As of transformers v4.44, default chat template is no longer allowed"
            )
        try:
            text = self.template(body["messages"])
        except ValueError as refused:
            return failure(400, str(refused))
        assert body["return_token_strs"]
        return JSONResponse(
            {"count": len(text), "tokens": [0] * len(text), "token_strs": list(text)}
        )

    async def load(self, request: Request) -> Response:
        body = await request.json()
        self.calls.append(("load", body["lora_name"]))
        if self.fail_load:
            return failure(*self.fail_load)
        if body["lora_name"] in self.adapters:
            return failure(
                400,
                f"The lora adapter '{body['lora_name']}' has already been loaded. If you want to"
                " load the adapter in place, ...",
            )
        self.adapters[body["lora_name"]] = body["lora_path"]
        return PlainTextResponse(f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        self.calls.append(("unload", name))
        if self.adapters.pop(name, None) is None:
            return failure(404, f"The lora adapter '{name}' cannot be found.")
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")


def completion(text: str, logprob: float) -> dict:
    tokens = [
        {
            "token": text,
            "logprob": logprob,
            "bytes": list(text.encode()),
            "top_logprobs": [
                {"token": text, "logprob": logprob},
                {"token": "?", "logprob": math.log(max(1e-9, 1 - math.exp(logprob)))},
            ],
        },
        {"token": "<|im_end|>", "logprob": -0.7, "bytes": list(b"<|im_end|>"), "top_logprobs": []},
    ]
    return {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
                "logprobs": {"content": tokens},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }


def event(choice: dict | None = None, usage: dict | None = None) -> str:
    choices = [{"index": 0, "logprobs": None, "finish_reason": None} | choice] if choice else []
    return f"data: {json.dumps({'id': 'x', 'choices': choices, 'usage': usage})}\n\n"


def call(answer: dict, calls: list[tuple[str, str]]) -> None:
    """Have a completion call functions, as vLLM does where its parser found some."""
    [choice] = answer["choices"]
    choice["finish_reason"] = "tool_calls"
    choice["message"] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"chatcmpl-tool-{number}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for number, (name, arguments) in enumerate(calls)
        ],
    }


def failure(status: int, message: str) -> Response:
    return JSONResponse(
        {"error": {"message": message, "type": "Error", "param": None, "code": status}}, status
    )


@asynccontextmanager
async def served(app: object, port: int = 0) -> AsyncIterator[str]:
    """The app behind a real socket, its lifespan included; yields its URL."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            lifespan="on",
            timeout_keep_alive=75,  # httpx keeps connections for uvicorn's own 5 s
            timeout_graceful_shutdown=1,
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
            if running.done():
                running.result()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for what a background loop will do."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)

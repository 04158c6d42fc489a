"""A model server that costs next to nothing: it answers every chat with the same bytes.

    python -m benchmarks.router.upstream PORT

What it says is a label with log-probabilities, as vLLM says it, at once or as a stream.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

ANSWER = "delivery"
HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n\r\n"
HEAD_END = b"\r\n\r\n"


def token(text: str, logprob: float) -> dict[str, Any]:
    others = ((text, logprob), ("ref", -6.2), ("pay", -7.9), ("card", -8.4), (" ", -9.8))
    return entry(text, logprob) | {"top_logprobs": [entry(*other) for other in others]}


def entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def answer(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-0",
        "object": kind,
        "created": 1_700_000_000,
        "model": "base",
        "choices": [{"index": 0, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 61, "completion_tokens": 3, "total_tokens": 64},
    }


LOGPROBS = {"content": [token("del", -0.004), token("ivery", -0.0001), token("", -0.0002)]}
WHOLE = answer(
    "chat.completion",
    {"message": {"role": "assistant", "content": ANSWER}, "logprobs": LOGPROBS},
)
CHUNKS = [
    answer("chat.completion.chunk", {"delta": {"content": piece}, "finish_reason": finish})
    for piece, finish in (("del", None), ("ivery", None), ("", "stop"))
]
MODELS = {"object": "list", "data": [{"id": "base", "object": "model"}]}


def response(body: bytes, kind: str = "application/json") -> bytes:
    return HEAD.format(kind=kind, size=len(body)).encode() + body


ONCE = response(json.dumps(WHOLE).encode())
STREAM = response(
    b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS)
    + b"data: [DONE]\n\n",
    "text/event-stream",
)
LIST = response(json.dumps(MODELS).encode())


class Answering(asyncio.Protocol):
    """One connection, one request at a time."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head = self.received.find(HEAD_END)
        if head < 0:
            return
        start = self.received[:head].lower()
        at = start.find(b"content-length:")
        size = int(start[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.received) < head + len(HEAD_END) + size:
            return
        body = self.received[head:]
        self.received = b""
        if start.startswith(b"get "):
            self.transport.write(LIST)
        else:
            streams = b'"stream":true' in body or b'"stream": true' in body
            self.transport.write(STREAM if streams else ONCE)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

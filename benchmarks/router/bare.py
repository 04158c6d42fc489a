"""The least that a gateway in FastAPI can do: it passes each request on, and looks at nothing.

python -m benchmarks.router.bare PORT WORKERS          (UPSTREAM_PORT in the environment)
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from aiohttp import ClientResponse, ClientSession, DummyCookieJar, TCPConnector
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

UPSTREAM = f"http://127.0.0.1:{os.environ.get('UPSTREAM_PORT')}/v1/chat/completions"
HEADERS = {"content-type": "application/json"}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    connector = TCPConnector(limit=256)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar()) as session:
        app.state.session = session
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    body = await request.body()
    answered = await app.state.session.post(UPSTREAM, data=body, headers=HEADERS)
    if answered.content_type == "text/event-stream":
        return StreamingResponse(pieces(answered), media_type="text/event-stream")
    async with answered:
        return Response(await answered.read(), answered.status, media_type="application/json")


async def pieces(answered: ClientResponse) -> AsyncIterator[bytes]:
    async with answered:
        async for piece in answered.content.iter_any():
            yield piece


if __name__ == "__main__":
    uvicorn.run(
        "benchmarks.router.bare:app",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        access_log=False,
        log_level="warning",
    )

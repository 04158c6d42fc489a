"""A real server with our connections and our door, in the loop of a test; and a client that
misbehaves at will.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request

from shared.http import Principal, RequestBody, connection_class, create_api, require
from shared.settings import ServiceSettings

Caller = Annotated[Principal, Depends(require("infer"))]
router = APIRouter()


class Body(RequestBody):
    text: str


@router.post("/v1/parsed")
async def parsed(body: Body, _: Caller) -> int:
    return len(body.text)


@router.post("/v1/raw")
async def raw(request: Request, _: Caller) -> int:
    return len(await request.body())


@router.get("/v1/large")
async def large(_: Caller) -> str:
    return "x" * 20_000_000


@router.get("/v1/slow")
async def slow(_: Caller) -> str:
    await asyncio.sleep(0.5)
    return "done"


@router.post("/open")
async def open_to_all(request: Request) -> int:
    return len(await request.body())


def settings_for(keys: dict[str, str], **changes: Any) -> ServiceSettings:
    return ServiceSettings(
        **({"database_url": "sqlite+aiosqlite://", "keys_file": keys["file"]} | changes)
    )


def api_for(settings: ServiceSettings) -> FastAPI:
    async def ready() -> dict[str, Any]:
        return {}

    return create_api("test", settings, [router], ready, trouble=lambda: None, lifespan=None)


@dataclass
class Server:
    port: int
    running: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        return len(self.running.server_state.connections)

    async def connect(self, first: bytes = b"") -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = RawClient(reader, writer)
        await client.send(first)
        return client


@asynccontextmanager
async def serving(app: FastAPI, settings: ServiceSettings) -> AsyncIterator[Server]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=connection_class(settings),
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
            if running.done():
                running.result()
        yield Server(listener.getsockname()[1], server)
    finally:
        server.should_exit = True
        await running
        listener.close()


@dataclass
class RawClient:
    """Bytes on a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self, seconds: float = 5.0) -> bytes:
        """All that comes until the server closes; TimeoutError while it does not."""
        got = b""
        async with asyncio.timeout(seconds):
            try:
                while piece := await self.reader.read(65536):
                    got += piece
            except ConnectionError:
                pass
        return got

    async def response(self) -> bytes:
        """One answer, of which the length is declared."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            size = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            return head + await self.reader.readexactly(size)

    def close(self) -> None:
        self.writer.close()

    def vanish(self) -> None:
        self.writer.transport.abort()


def head(key: str, path: str = "/v1/raw", method: str = "POST", *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"authorization: Bearer {key}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()

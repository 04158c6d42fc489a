"""The proxy does what it says, before anything is concluded from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import Proxy

PIECE = b"x" * 1000


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Proxy(*server.sockets[0].getsockname()[:2]) as proxy:
        yield proxy
    server.close()


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    started = time.monotonic()
    writer.write(PIECE)
    assert await asyncio.wait_for(reader.readexactly(len(PIECE)), 5) == PIECE
    return time.monotonic() - started


async def test_it_passes_on(proxy: Proxy) -> None:
    assert await send(*await connect(proxy)) < 1


async def test_it_delays_and_is_narrow(proxy: Proxy) -> None:
    connection = await connect(proxy)
    proxy.delay = 0.1
    assert await send(*connection) > 0.2
    proxy.delay = 0.0
    proxy.bandwidth = 5000
    assert await send(*connection) > 0.4


async def test_it_is_silent_and_speaks_again(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    await send(reader, writer)
    proxy.silent = True
    writer.write(PIECE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.5)
    proxy.silent = False
    assert await asyncio.wait_for(reader.readexactly(len(PIECE)), 5) == PIECE


async def test_it_cuts_and_refuses(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    await send(reader, writer)
    proxy.refusing = True
    assert proxy.cut() == 1
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    other, _ = await connect(proxy)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(other.readexactly(1), 5)

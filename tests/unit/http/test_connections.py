"""No client can hold a connection: not by saying nothing, not drop by drop, not by not reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn

from tests.unit.http import servers
from tests.unit.http.servers import Server, api_for, head, serving, settings_for

HEAD_SECONDS = 1.0
BODY_SECONDS = 2.0


@pytest.fixture
async def server(keys: dict[str, str]) -> AsyncIterator[Server]:
    settings = settings_for(
        keys, head_seconds=HEAD_SECONDS, body_seconds=BODY_SECONDS, max_connections=40
    )
    async with serving(api_for(settings), settings) as running:
        yield running


async def drip(client: servers.RawClient, data: bytes, seconds: float = 6.0) -> bytes:
    """Send byte by byte until the server has had enough."""

    async def dripping() -> None:
        for byte in data:
            try:
                await client.send(bytes([byte]))
            except ConnectionError:
                return
            await asyncio.sleep(0.1)

    task = asyncio.create_task(dripping())
    try:
        return await client.rest(seconds)
    finally:
        task.cancel()


async def answers(server: Server, keys: dict[str, str]) -> None:
    """What comes next is answered as if nothing had been."""
    client = await server.connect(
        head(keys["acme"], "/v1/raw", "POST", "content-length: 3") + b"abc"
    )
    assert (await client.response()).startswith(b"HTTP/1.1 200")
    client.close()


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /v1/raw HTTP/1.1\r\nhost: x\r\n", b"\r\n\r\n\r\n", b"GE"],
    ids=["nothing", "half a head", "empty lines", "two letters"],
)
async def test_a_head_that_does_not_come_ends_the_connection(
    server: Server, keys: dict[str, str], sent: bytes
) -> None:
    client = await server.connect(sent)
    assert await client.rest() == b""
    await answers(server, keys)


async def test_a_head_byte_by_byte_ends_the_connection(
    server: Server, keys: dict[str, str]
) -> None:
    client = await server.connect()
    assert await drip(client, head(keys["acme"])) == b""
    await answers(server, keys)


async def test_a_second_head_byte_by_byte_ends_it_too(server: Server, keys: dict[str, str]) -> None:
    client = await server.connect(head(keys["acme"], "/health/live", "GET"))
    assert (await client.response()).startswith(b"HTTP/1.1 200")
    assert await drip(client, head(keys["acme"])) == b""


async def test_empty_lines_between_requests_do_not_keep_it(
    server: Server, keys: dict[str, str]
) -> None:
    client = await server.connect(head(keys["acme"], "/health/live", "GET"))
    await client.response()
    assert await drip(client, b"\r\n" * 100) == b""


async def test_a_connection_is_kept_for_as_long_as_it_is_said(keys: dict[str, str]) -> None:
    """Longer than a head may take: a balancer keeps its connections for a minute."""
    settings = settings_for(keys, head_seconds=0.3, keep_alive_seconds=3)
    ask = head(keys["acme"], "/health/live", "GET")
    async with serving(api_for(settings), settings) as server:
        client = await server.connect(ask)
        assert (await client.response()).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(2)
        await client.send(b"\r\n" + ask)
        assert (await client.response()).startswith(b"HTTP/1.1 200")
        began = asyncio.get_running_loop().time()
        assert await client.rest() == b""
        assert asyncio.get_running_loop().time() - began > 2


@pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
async def test_a_body_that_stops_gets_408(
    server: Server, keys: dict[str, str], framing: str
) -> None:
    client = await server.connect(
        head(keys["acme"], "/v1/raw", "POST", framing) + b"5\r\nabcde\r\n"
    )
    answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"error":"BodyTooSlow"' in answer
    await answers(server, keys)


async def test_a_body_that_drips_gets_408(server: Server, keys: dict[str, str]) -> None:
    client = await server.connect(head(keys["acme"], "/v1/raw", "POST", "content-length: 900"))
    assert (await drip(client, b"x" * 100)).startswith(b"HTTP/1.1 408")


async def test_what_was_refused_is_not_received_for_ever(
    server: Server, keys: dict[str, str]
) -> None:
    client = await server.connect(head("no key", "/v1/raw", "POST", "transfer-encoding: chunked"))
    assert (await client.response()).startswith(b"HTTP/1.1 401")
    assert await drip(client, b"1\r\nx\r\n" * 100) == b""


async def test_chunks_without_end_are_cut(server: Server, keys: dict[str, str]) -> None:
    client = await server.connect(head("no key", "/v1/raw", "POST", "transfer-encoding: chunked"))
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                await client.send(chunk)
                sent += len(chunk)
    assert sent < 32 * 1024 * 1024


async def test_trailers_without_end_are_cut(server: Server, keys: dict[str, str]) -> None:
    client = await server.connect(
        head(keys["acme"], "/v1/raw", "POST", "transfer-encoding: chunked") + b"1\r\nx\r\n0\r\n"
    )
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                await client.send(b"t: " + b"x" * 60_000 + b"\r\n")


async def test_a_huge_head_gets_431(server: Server, keys: dict[str, str]) -> None:
    client = await server.connect(
        head(keys["acme"], "/v1/raw", "GET", "x: " + "y" * 100_000)[:-4] + b"y" * 10_000
    )
    answer = await client.rest()
    assert answer == b"" or b" 431 " in answer
    await answers(server, keys)


async def test_too_many_headers_are_refused(server: Server, keys: dict[str, str]) -> None:
    many = [f"x-{number}: y" for number in range(200)]
    client = await server.connect(head(keys["acme"], "/health/live", "GET", *many))
    assert (await client.rest()).startswith(b"HTTP/1.1 400")


async def test_a_few_requests_at_once_are_answered_in_order(
    server: Server, keys: dict[str, str]
) -> None:
    one = head(keys["acme"], "/v1/raw", "POST", "content-length: 1") + b"x"
    two = head(keys["acme"], "/v1/raw", "POST", "content-length: 2") + b"xx"
    client = await server.connect(one + two + one)
    bodies = [(await client.response())[-1:] for _ in range(3)]
    assert bodies == [b"1", b"2", b"1"]


async def test_thousands_at_once_are_not(server: Server, keys: dict[str, str]) -> None:
    client = await server.connect(head(keys["acme"], "/v1/slow", "GET") * 5000)
    await client.rest()
    await answers(server, keys)


async def test_a_next_head_does_not_cost_the_answer_before_it(
    server: Server, keys: dict[str, str]
) -> None:
    client = await server.connect(head(keys["acme"], "/v1/slow", "GET") + b"GET /v1/sl")
    assert b"done" in await client.response()
    assert await client.rest() == b""


async def test_who_does_not_read_is_cut_off(server: Server, keys: dict[str, str]) -> None:
    client = await server.connect(head(keys["acme"], "/v1/large", "GET"))
    client.writer.transport.pause_reading()
    await asyncio.sleep(0.3)
    assert server.open == 1
    async with asyncio.timeout(BODY_SECONDS + 3):
        while server.open:
            await asyncio.sleep(0.1)
    await answers(server, keys)


async def test_too_many_connections_cost_the_oldest_that_wait(
    server: Server, keys: dict[str, str]
) -> None:
    served = await server.connect(head(keys["acme"], "/v1/slow", "GET"))
    held = [await server.connect(b"GET / HT") for _ in range(100)]
    await answers(server, keys)
    assert server.open <= 40
    assert b"done" in await served.response()  # what is being answered stays
    assert await held[0].rest(0.5) == b""


async def test_the_control_uvicorn_alone_holds_them_all(keys: dict[str, str]) -> None:
    """Without our class nothing ends: the tests above would wait for ever."""
    settings = settings_for(keys, head_seconds=0.2, body_seconds=0.2)
    original = servers.connection_class
    servers.connection_class = lambda _: "httptools"  # type: ignore[assignment]
    try:
        async with serving(api_for(settings), settings) as server:
            assert isinstance(server.running, uvicorn.Server)
            client = await server.connect(b"GET / HT")
            with pytest.raises(TimeoutError):
                await client.rest(2.0)
            client.vanish()
    finally:
        servers.connection_class = original

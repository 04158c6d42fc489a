"""One POST, one answer, over kept connections: what servers do to them, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from yarl import URL

from shared.rules.questions import ClosedOn, NotReached, Questions

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[bool]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Server:
    """Answers each request of each connection by `reply`, which says whether to go on."""

    reply: Reply
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(size))
                if not await self.reply(reader, writer, len(self.requests)):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        self.closed.set()


@asynccontextmanager
async def asked_of(reply: Reply, idle: float = 5.0) -> AsyncIterator[tuple[Server, Questions]]:
    there = Server(reply)
    async with await asyncio.start_server(there.serve, "127.0.0.1", 0) as listening:
        there.port = listening.sockets[0].getsockname()[1]
        url = URL(f"http://127.0.0.1:{there.port}/v1/chat")
        questions = Questions(url, {"x-one": "1"}, 1.0, idle)
        yield there, questions
        questions.close()


def writes(*pieces: bytes, goes_on: bool = True) -> Reply:
    async def reply(_: object, writer: asyncio.StreamWriter, __: int) -> bool:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        return goes_on

    return reply


async def test_answers_come_over_one_connection_in_order() -> None:
    async with asked_of(writes(OK)) as (server, questions):
        for number in range(5):
            assert (await questions.ask(b"%d" % number, 5)).body == b"hi"
    assert server.connections == 1
    assert [request[-1:] for request in server.requests] == [b"0", b"1", b"2", b"3", b"4"]
    assert server.requests[0].startswith(b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-one: 1\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "pieces",
    [
        [OK[:9], OK[9:30], OK[30:]],
        [
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n",
            b"1\r\ni\r\n0\r\n\r\n",
        ],
    ],
)
async def test_answers_in_pieces_and_chunks(pieces: list[bytes]) -> None:
    async with asked_of(writes(*pieces)) as (_, questions):
        for _ in range(3):
            answer = await questions.ask(b"{}", 5)
            assert (answer.status, answer.body) == (200, b"hi")


async def test_status_and_retry_after_are_told() -> None:
    busy = b"HTTP/1.1 429 Busy\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n"
    async with asked_of(writes(busy)) as (_, questions):
        assert await questions.ask(b"{}", 5) == (429, b"", "7")


async def test_many_at_once_have_a_connection_each_and_keep_them() -> None:
    async with asked_of(writes(OK)) as (server, questions):
        for _ in range(3):
            await asyncio.gather(*(questions.ask(b"{}", 5) for _ in range(8)))
    assert server.connections == 8


async def test_what_the_server_closed_meanwhile_is_asked_anew() -> None:
    async def once(_: object, writer: asyncio.StreamWriter, number: int) -> bool:
        if number == 2:
            return False
        writer.write(OK)
        return True

    async with asked_of(once) as (server, questions):
        assert (await questions.ask(b"one", 5)).body == b"hi"
        # It is read and the connection closed on, as by a server whose patience just ended.
        assert (await questions.ask(b"two", 5)).body == b"hi"
    assert server.connections == 2


async def test_what_breaks_off_in_the_middle_is_not_asked_twice() -> None:
    whole = writes(OK)
    half = writes(OK[:-1], goes_on=False)

    async def reply(reader: object, writer: asyncio.StreamWriter, number: int) -> bool:
        return await (whole if number == 1 else half)(reader, writer, number)

    async with asked_of(reply) as (server, questions):
        await questions.ask(b"one", 5)
        with pytest.raises(ClosedOn):
            await questions.ask(b"two", 5)
    assert len(server.requests) == 2


async def test_a_fresh_connection_that_is_closed_on_is_an_error() -> None:
    async with asked_of(writes(goes_on=False)) as (server, questions):
        with pytest.raises(ClosedOn):
            await questions.ask(b"{}", 5)
    assert len(server.requests) == 1


@pytest.mark.parametrize("words", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_no_http_is_an_error(words: bytes) -> None:
    async with asked_of(writes(words)) as (_, questions):
        with pytest.raises(ClosedOn):
            await questions.ask(b"{}", 5)


async def test_words_without_a_question_are_nobodys_answer() -> None:
    async def twice(_: object, writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(OK if number > 1 else OK + OK.replace(b"hi", b"no"))
        return True

    async with asked_of(twice) as (_, questions):
        assert (await questions.ask(b"{}", 5)).body == b"hi"
        await asyncio.sleep(0.05)
        assert (await questions.ask(b"{}", 5)).body == b"hi"


async def silent(reader: asyncio.StreamReader, _: object, __: int) -> bool:
    await reader.read()
    return False


async def test_silence_ends_in_time_and_closes_the_connection() -> None:
    async with asked_of(silent) as (server, questions):
        with pytest.raises(TimeoutError):
            await questions.ask(b"{}", 0.1)
        async with asyncio.timeout(5):
            await server.closed.wait()


async def test_who_is_cancelled_closes_the_connection() -> None:
    async with asked_of(silent) as (server, questions):
        asking = asyncio.create_task(questions.ask(b"{}", 30))
        await asyncio.sleep(0.1)
        asking.cancel()
        async with asyncio.timeout(5):
            await server.closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    async with asked_of(writes(OK), idle=0.05) as (server, questions):
        await questions.ask(b"{}", 5)
        await asyncio.sleep(0.1)
        await questions.ask(b"{}", 5)
    assert server.connections == 2


async def test_connection_close_is_heeded() -> None:
    last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
    async with asked_of(writes(last)) as (server, questions):
        for _ in range(2):
            assert (await questions.ask(b"{}", 5)).body == b"hi"
    assert server.connections == 2


async def test_nobody_there_is_told_from_silence() -> None:
    questions = Questions(URL("http://127.0.0.1:1/"), {}, 1.0, 4.0)
    with pytest.raises(NotReached):
        await questions.ask(b"{}", 5)

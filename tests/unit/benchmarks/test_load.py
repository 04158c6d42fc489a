"""The load generator tells the truth about a server that stalls: whoever was due in the stall has
waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.capture import load

REQUEST = load.http("/", b'{"a": 1}', {})


@asynccontextmanager
async def server(answer: bytes, stall_at: int = -1, stall: float = 0.0) -> AsyncIterator[int]:
    """Answers each request with `answer`; before the one numbered `stall_at` everything stands
    still.
    """
    seen = 0
    running = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while await reader.read(len(REQUEST)):
            async with running:
                seen += 1
                if seen == stall_at:
                    await asyncio.sleep(stall)
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


async def test_a_stall_is_felt_by_all_that_fall_due_in_it() -> None:
    async with server(ACCEPTED, stall_at=50, stall=0.5) as port:
        outcome = await load.open_loop(port, [REQUEST] * 200, rate=200, connections=4)
    assert outcome.statuses == {202: 200}
    assert outcome.percentile(0.99) > 0.4
    # of the hundred that fell due; the control below feels four
    assert sum(latency > 0.1 for latency in outcome.latencies) > 40


async def test_a_closed_loop_hides_it() -> None:
    async with server(ACCEPTED, stall_at=50, stall=0.5) as port:
        outcome = await load.closed_loop(port, [REQUEST] * 200, connections=4)
    assert sum(latency > 0.1 for latency in outcome.latencies) <= 4


async def test_an_answer_in_pieces_and_a_refusal_are_read_whole() -> None:
    async with server(
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000
    ) as port:
        outcome = await load.closed_loop(port, [REQUEST] * 10, connections=2)
    assert outcome.statuses == {503: 10}

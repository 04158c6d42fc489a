"""The load generator: pre-rendered HTTP requests over kept connections. It only writes bytes, finds
the end of an answer and looks at the clock.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass
class Outcome:
    """`latencies` in seconds; of an open loop they begin when a request was due, not when it could
    be sent.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    # how long after it was due the generator itself got round to a request
    late: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return (
            ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
        )


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.received = b""
        self.answered: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        head = self.received.find(HEAD_END)
        if head < 0:
            return
        if (
            len(self.received) >= head + len(HEAD_END) + content_length(self.received[:head])
            and self.answered
        ):
            status = int(self.received[9:12])
            self.received = b""
            self.answered.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answered and not self.answered.done():
            self.answered.set_exception(
                error or ConnectionResetError("the server closed the connection")
            )

    async def ask(self, request: bytes) -> int:
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answered


def content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(LENGTH)
    return int(lower[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def connect(port: int, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(count)]


async def closed_loop(port: int, requests: Sequence[bytes], connections: int) -> Outcome:
    """As fast as it goes: each connection sends its next request when the last one was answered."""
    outcome = Outcome()
    waiting = deque(requests)

    async def work(connection: Connection) -> None:
        while waiting:
            request = waiting.popleft()
            began = time.perf_counter()
            note(outcome, await connection.ask(request), began)

    opened = await connect(port, connections)
    began = time.perf_counter()
    cpu = time.process_time()
    await asyncio.gather(*map(work, opened))
    outcome.seconds = time.perf_counter() - began
    outcome.cpu_seconds = time.process_time() - cpu
    shut(opened)
    return outcome


async def open_loop(port: int, requests: Sequence[bytes], rate: float, connections: int) -> Outcome:
    """One request each 1/rate seconds, whether or not earlier ones were answered: a stall is felt
    by all that fall due in it.
    """
    outcome = Outcome()
    free = asyncio.Queue[Connection]()
    opened = await connect(port, connections)
    for connection in opened:
        free.put_nowait(connection)

    async def send(request: bytes, due: float) -> None:
        connection = await free.get()
        try:
            note(outcome, await connection.ask(request), due)
        finally:
            free.put_nowait(connection)

    began = time.perf_counter()
    cpu = time.process_time()
    sending = []
    for number, request in enumerate(requests):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        outcome.late.append(max(0.0, time.perf_counter() - due))
        sending.append(asyncio.create_task(send(request, due)))
    await asyncio.gather(*sending)
    outcome.seconds = time.perf_counter() - began
    outcome.cpu_seconds = time.process_time() - cpu
    shut(opened)
    return outcome


def note(outcome: Outcome, status: int, began: float) -> None:
    outcome.latencies.append(time.perf_counter() - began)
    outcome.statuses[status] = outcome.statuses.get(status, 0) + 1


def shut(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.transport.close()


def http(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A request as it goes over the wire: rendered before the clock starts."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body

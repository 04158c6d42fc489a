"""The load: kept connections that send the next request as soon as they have an answer.

    python -m benchmarks.router.load PORT CONNECTIONS SECONDS < REQUEST      prints JSON

A program of its own, so that what is measured is not slowed by what measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
LAST_CHUNK = b"0\r\n\r\n"
WARM_SECONDS = 3.0


@dataclass
class Seen:
    """Latencies in seconds: to the first byte of a body, and to its last."""

    request: bytes
    counting: bool = False
    # In the warm-up, too.
    asked: int = 0
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)


class Asking(asyncio.Protocol):
    """One connection."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.seen.asked += 1
        self.received = b""
        # Where the body begins, and ends where that is known.
        self.body = 0
        self.end = 0
        self.began = time.perf_counter()
        self.first = 0.0
        self.transport.write(self.seen.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.body:
            head = self.received.find(HEAD_END)
            if head < 0:
                return
            self.body = head + len(HEAD_END)
            start = self.received[:head].lower()
            at = start.find(LENGTH)
            if at >= 0:
                self.end = self.body + int(start[at + len(LENGTH) :].split(b"\r\n", 1)[0])
        if not self.first and len(self.received) > self.body:
            self.first = time.perf_counter()
        is_whole = (
            len(self.received) >= self.end if self.end else self.received.endswith(LAST_CHUNK)
        )
        if is_whole:
            self.note()
            self.ask()

    def note(self) -> None:
        if not self.seen.counting:
            return
        self.seen.first.append(self.first - self.began)
        self.seen.whole.append(time.perf_counter() - self.began)
        status = self.received[9:12].decode()
        self.seen.statuses[status] = self.seen.statuses.get(status, 0) + 1

    def connection_lost(self, _: Exception | None) -> None:
        if self.seen.counting:
            self.seen.statuses["lost"] = self.seen.statuses.get("lost", 0) + 1


async def loaded(port: int, connections: int, seconds: float, request: bytes) -> dict[str, Any]:
    """Send for `seconds` after a warm-up; return what was seen."""
    loop = asyncio.get_running_loop()
    seen = Seen(request)
    opened = [
        await loop.create_connection(lambda: Asking(seen), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.sleep(WARM_SECONDS)
    seen.counting = True
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took, cost = time.perf_counter() - began, time.process_time() - cpu
    seen.counting = False
    for transport, _ in opened:
        transport.abort()
    answered = seen.statuses.get("200", 0)
    return {
        "per_second": answered / took,
        "p50_ms": 1000 * percentile(seen.whole, 0.5),
        "p99_ms": 1000 * percentile(seen.whole, 0.99),
        "first_p50_ms": 1000 * percentile(seen.first, 0.5),
        "statuses": seen.statuses,
        "asked": seen.asked,
        "load_cpu_us": 1e6 * cost / max(1, answered),
    }


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


if __name__ == "__main__":
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    seen = uvloop.run(loaded(port, connections, seconds, sys.stdin.buffer.read()))
    sys.stdout.write(json.dumps(seen))

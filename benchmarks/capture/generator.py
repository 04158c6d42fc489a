"""Proof that the load generator is not what limits: the same requests against a server that only
answers.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from benchmarks.capture import load, payloads
from benchmarks.capture.figures import Figures
from benchmarks.capture.plan import Plan
from benchmarks.capture.processes import SERVER_CORE, Pinned
from infra.local.ports import free_port

ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"


async def measure(plan: Plan, folder: Path) -> Figures:
    port = free_port()
    with Pinned(
        "mock",
        [sys.executable, "-m", "benchmarks.capture.generator", str(port)],
        folder,
        SERVER_CORE,
    ) as server:
        server.wait_for_port(port)
        prepared = [
            load.http("/", body, {})
            for body in payloads.ratchet_bodies(plan.inferences, plan.batch)
        ]
        outcome = await load.closed_loop(port, prepared, plan.connections)
        figures = Figures(
            "the load generator alone",
            "against a server that answers at once",
            answered_per_s=plan.inferences / outcome.seconds,
        )
        singles = [load.http("/", body, {}) for body in payloads.ratchet_bodies(plan.singles, 1)]
        figures.latency(await load.open_loop(port, singles, plan.rate, plan.connections * 4))
    figures.inferences = plan.inferences
    figures.generator_busy = outcome.cpu_seconds / outcome.seconds
    return figures


class Mock(asyncio.Protocol):
    """Answers each complete request; a client here never sends the next one before it has the
    answer.
    """

    def __init__(self) -> None:
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self.missing:
            head = data.index(load.HEAD_END)
            self.missing = head + len(load.HEAD_END) + load.content_length(data[:head])
        self.missing -= len(data)
        if not self.missing:
            self.transport.write(ANSWER)


async def serve(port: int) -> None:
    await (await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port)).serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

"""Several processes of one service behind one port, each of them whole: connections are spread
over them, and what they share is in the database, as with replicas.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from shared.child import die_with_parent
from shared.telemetry import log

NUMBER, DESCRIPTOR = "RATCHET_WORKER", "RATCHET_WORKER_SOCKET"
# Where they put what they count (prometheus_client reads it when it is first imported).
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
BACKLOG = 2048
# Within them a worker has started or it never will; three such ends in a row, and all end.
START_SECONDS, MOST_FAILED_STARTS = 10.0, 3
PAUSE_SECONDS = 0.5
# Before a process takes another connection, for each that it has.
HESITATION_SECONDS, LONGEST_HESITATION = 0.0002, 0.005


@dataclass(frozen=True)
class WorkerProcess:
    """This process, where it is one of several."""

    number: int
    descriptor: int

    @classmethod
    def here(cls) -> Self | None:
        if NUMBER not in os.environ:
            return None
        return cls(int(os.environ[NUMBER]), int(os.environ[DESCRIPTOR]))

    def listening(self) -> socket.socket:
        """Return the socket that all workers accept from, and end with the one that made it."""
        die_with_parent()
        return socket.socket(fileno=self.descriptor)


@dataclass
class Supervisor:
    """Starts `count` processes of a module, and each again that ends; ends them when it is told to
    stop. A worker that is killed takes only its own requests along: those that wait to be accepted
    are the others'.
    """

    module: str
    count: int
    host: str
    port: int
    _numbers: dict[int, int] = field(default_factory=dict)
    _started: dict[int, float] = field(default_factory=dict)
    _stopping: bool = False

    def run(self) -> int:
        """Return the exit status of the service."""
        failed_starts = 0
        with self._listening() as listening, tempfile.TemporaryDirectory() as metrics:
            for sign in (signal.SIGTERM, signal.SIGINT):
                signal.signal(sign, self._stop)
            environment = {METRICS_FOLDER: metrics, DESCRIPTOR: str(listening.fileno())}
            for number in range(self.count):
                self._start(number, listening, environment)
            while self._numbers:
                pid, status = os.wait()
                number = self._numbers.pop(pid)
                mark_process_dead(pid, metrics)  # type: ignore[no-untyped-call]
                if self._stopping:
                    continue
                code = os.waitstatus_to_exitcode(status)
                log("workers").error("a worker ended", worker=number, code=code)
                lived = time.monotonic() - self._started[number]
                failed_starts = failed_starts + 1 if lived < START_SECONDS else 0
                if failed_starts >= MOST_FAILED_STARTS:
                    self._stop(signal.SIGTERM)
                    return max(code, 1)
                time.sleep(PAUSE_SECONDS)
                self._start(number, listening, environment)
        return 0

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.host, self.port))
        listening.listen(BACKLOG)
        return listening

    def _start(self, number: int, listening: socket.socket, environment: dict[str, str]) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            env=os.environ | environment | {NUMBER: str(number)},
            pass_fds=[listening.fileno()],
        )
        self._numbers[process.pid] = number
        self._started[number] = time.monotonic()

    def _stop(self, sign: int, _: object = None) -> None:
        self._stopping = True
        for pid in self._numbers:
            os.kill(pid, sign)


class SharingServer(uvicorn.Server):
    """Accepts from a socket that other processes accept from, too: who has fewer connections is
    quicker. By itself each takes as many as wait, and of ten kept connections one process had all.
    """

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        super().__init__(config)
        self.listening = listening
        self._accepting: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets or [])
        self.listening.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(), name="accept")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._accepting:
            self._accepting.cancel()
        await super().shutdown(sockets)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await readable(self.listening)
            share = len(self.server_state.connections) * HESITATION_SECONDS
            await asyncio.sleep(min(share, LONGEST_HESITATION))
            # Somebody else was quicker; a reset before it was accepted, or no descriptor is left.
            with suppress(BlockingIOError, OSError):
                connection, _ = self.listening.accept()
                connection.setblocking(False)
                await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


async def readable(listening: socket.socket) -> None:
    """Return when a connection waits to be accepted."""
    loop = asyncio.get_running_loop()
    waits = asyncio.Event()
    loop.add_reader(listening, waits.set)
    try:
        await waits.wait()
    finally:
        loop.remove_reader(listening)


def metrics_of_all() -> CollectorRegistry:
    """Return what /metrics tells: of all processes, where there are several."""
    if METRICS_FOLDER not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry

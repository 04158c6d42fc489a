"""Supervises one part: starts it, watches it, restarts it when it dies, stops it on request."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from infra.local.part import Part
from shared.child import die_with_parent
from shared.errors import RatchetError

State = Literal["waiting", "starting", "ready", "restarting", "stopping", "stopped", "failed"]
# Seconds, doubling.
FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 30.0
# A part that lived this long starts again at the first back-off.
HEALTHY_SECONDS = 60.0
PROBE_SECONDS = 0.2
# A part that is stuck, or stopped, for half a minute is started again.
ALIVE_SECONDS = 5.0
ALIVE_FAILURES = 6
TAIL_LINES = 30


class Supervised:
    def __init__(
        self,
        part: Part,
        started: asyncio.Event,
        on_change: Callable[[Supervised], None],
        on_line: Callable[[Part, str], None],
        tell_guard: Callable[[str], None],
    ) -> None:
        self.part = part
        self._started = started
        self._on_change = on_change
        self._on_line = on_line
        self._tell_guard = tell_guard
        self.state: State = "waiting"
        self.detail = ""
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        # In a row, without a healthy minute between them.
        self.crashes = 0
        self.since = time.time()
        self.born = time.time()
        self.first_ready = asyncio.Event()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._pumping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    async def run(self) -> None:
        """Start the part again whenever it dies, until cancelled."""
        await self._started.wait()
        if self.part.prepare:
            await self.part.prepare()
        self.born = time.time()
        if not self.part.argv:
            await self._become_ready()
            return
        while True:
            code, lived = await self._live()
            self.crashes = 1 if lived >= HEALTHY_SECONDS else self.crashes + 1
            delay = min(FIRST_BACKOFF * 2 ** (self.crashes - 1), LONGEST_BACKOFF)
            self.restarts += 1
            self._set("restarting", f"{describe_exit(code)}; starts again in {delay:.1f} s")
            await asyncio.sleep(delay)

    def kill(self) -> None:
        """Kill its process as `kill -9` does."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Stop it politely, then by force after its deadline; what it started goes with it.

        `run` must be cancelled before.
        """
        if self.pid and self.process:
            self._set("stopping")
            with suppress(ProcessLookupError):
                self.process.terminate()
            try:
                async with asyncio.timeout(self.part.stop_seconds):
                    await self.process.wait()
            except TimeoutError:
                self.detail = f"did not stop within {self.part.stop_seconds:.0f} s and was killed"
        await self.bury()
        self._set("stopped", self.detail if "killed" in self.detail else "")

    async def bury(self) -> None:
        """Kill what is left of its process group (vLLM's engine, say), and read its last output."""
        if self.process is None or self._pumping is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self._tell_guard(f"-{self.process.pid}")
        # Not wait_for, which in Python 3.11 can swallow a cancellation
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._pumping
        self.process = None

    async def _live(self) -> tuple[int, float]:
        """Run it from start to death; return the exit code and how many seconds it lived."""
        self.process = await asyncio.create_subprocess_exec(
            *self.part.argv,
            env=self.part.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=self._in_child,
        )
        self._tell_guard(f"+{self.process.pid}")
        self._set("starting")
        self._pumping = asyncio.create_task(self._pump(self.process.stdout))
        started = time.monotonic()
        probing = asyncio.create_task(self._probe())
        try:
            code = await self.process.wait()
        finally:
            probing.cancel()
        await self.bury()
        return code, time.monotonic() - started

    def _in_child(self) -> None:
        die_with_parent()
        if self.part.nice:
            os.nice(self.part.nice)

    async def _probe(self) -> None:
        await self._become_ready()
        failures = 0
        while self.part.alive and failures < ALIVE_FAILURES:
            await asyncio.sleep(ALIVE_SECONDS)
            failures = 0 if await self.part.alive() else failures + 1
        if self.part.alive:
            self._set("restarting", "it was alive and stuck, and was killed")
            self.kill()

    async def _become_ready(self) -> None:
        self._set("starting")
        try:
            while not await self.part.probe():
                await asyncio.sleep(PROBE_SECONDS)
        # The part answers, and says that it will never do.
        except RatchetError as error:
            self._set("failed", str(error))
            return
        first = f"after {time.time() - self.born:.1f} s"
        self._set("ready", f"again, restart {self.restarts}" if self.restarts else first)
        self.first_ready.set()

    async def _pump(self, stream: asyncio.StreamReader | None) -> None:
        """Split by hand: a line longer than the reader's limit must not end the log."""
        if stream is None:
            return
        rest = b""
        while chunk := await stream.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._heard(line)
        if rest:
            self._heard(rest)

    def _heard(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        self.tail.append(text)
        self._on_line(self.part, text)

    def _set(self, state: State, detail: str = "") -> None:
        if (state, detail) != (self.state, self.detail):
            self.state = state
            self.detail = detail
            self.since = time.time()
            self._on_change(self)


def describe_exit(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"

"""Starts the parts, keeps them running, and leaves nothing behind.

async with Supervisor(LocalConfig(home=Path(".ratchet"))) as system:
    await system.wait_ready()
    system.urls["router"], system.credentials["app"], system.kill("trainer")
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from infra.local import guard
from infra.local.databases import create_missing_databases
from infra.local.home import Home, PartEntry
from infra.local.keys import development_credentials
from infra.local.logs import LogFiles, Watcher
from infra.local.part import Part, PartUnknown
from infra.local.plan import LocalConfig, Plan, make_plan
from infra.local.ports import require_free
from infra.local.process import Supervised
from shared.describing import describe
from shared.errors import RatchetError

# A part that never was ready and died this often in a row will not come up by waiting.
GIVE_UP_CRASHES = 5


class PartFailed(RatchetError):
    def __init__(self, supervised: Supervised, log: Path) -> None:
        last = "\n  ".join([line for line in supervised.tail if line.strip()][-6:])
        super().__init__(
            f"{supervised.part.name} does not come up: {supervised.detail or 'it keeps dying'} (its"
            f" log: {log})" + (f"\n  {last}" if last else "")
        )


class NotReadyInTime(RatchetError):
    def __init__(self, waiting: list[str], seconds: float, logs: Path) -> None:
        super().__init__(f"not ready after {seconds:.0f} s: {', '.join(waiting)}; see {logs}")


class Supervisor:
    def __init__(self, config: LocalConfig, watchers: Sequence[Watcher] = ()) -> None:
        self.config = config
        self.home = Home(config.home)
        self.started = time.time()
        self.plan: Plan
        self.credentials: dict[str, str] = {}
        self.parts: dict[str, Supervised] = {}
        self._watchers: list[Watcher] = list(watchers)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Condition()

    @property
    def urls(self) -> dict[str, str]:
        """Return http URLs by part, and for `broker` its bootstrap servers."""
        return self.plan.urls

    async def __aenter__(self) -> Self:
        """Check what can be checked, then start the parts; return before they are ready."""
        self.home.path.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = self.home.lock()
        try:
            await self._start()
        except BaseException:
            self._lock.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        self.home.prepare()
        self.plan = make_plan(self.config, self.home)
        for part in self.plan.parts:
            for port in part.ports:
                require_free(port, part.name)
        self.credentials = development_credentials(self.home)
        await create_missing_databases(self.plan.databases)
        self._files = LogFiles(self.home.logs)
        self._watchers.insert(0, self._files)
        self._guard = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            "-E",
            guard.__file__,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if self._guard.stdin is None:
            raise RuntimeError("the guard has no standard input")
        self._guard_input = self._guard.stdin
        for part in self.plan.parts:
            self._supervise(part)
        self._write_state()

    def _supervise(self, part: Part) -> None:
        after = self.parts.get(part.after) if part.after else None
        free = after.first_ready if after else already()
        supervised = Supervised(part, free, self._on_change, self._on_line, self._tell_guard)
        self.parts[part.name] = supervised
        task = asyncio.create_task(supervised.run(), name=part.name)
        task.add_done_callback(lambda done: self._on_end(supervised, done))
        self._tasks[part.name] = task

    async def wait_ready(self, *names: str, seconds: float = 300) -> None:
        """Wait until these parts (all by default) were ready once.

        Raises PartFailed as soon as one cannot come up.
        """
        chosen = [self._part(name) for name in names or self.parts]
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._settled(chosen))
        except TimeoutError:
            waiting = [part.part.name for part in chosen if not part.first_ready.is_set()]
            raise NotReadyInTime(waiting, seconds, self.home.logs) from None

    def _settled(self, chosen: Iterable[Supervised]) -> bool:
        for part in chosen:
            if not part.first_ready.is_set() and (
                part.state == "failed" or part.crashes >= GIVE_UP_CRASHES
            ):
                raise PartFailed(part, self.home.logs / f"{part.part.name}.log")
        return all(part.first_ready.is_set() for part in chosen)

    def kill(self, name: str) -> None:
        """Kill a part as `kill -9` does; it is started again."""
        self._part(name).kill()

    async def stop(self) -> None:
        """Stop services first, then vLLM, the event log last; each part has a deadline."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for stage in sorted({part.part.stage for part in self.parts.values()}):
            await asyncio.gather(
                *(part.stop() for part in self.parts.values() if part.part.stage == stage)
            )
        self._guard_input.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._guard.wait()
        self._files.close()
        self.home.forget_state()
        self._lock.close()

    def kill_all(self) -> None:
        """Kill every part at once: the second Ctrl-C."""
        for part in self.parts.values():
            part.kill()

    def _part(self, name: str) -> Supervised:
        if name not in self.parts:
            raise PartUnknown(name, list(self.parts))
        return self.parts[name]

    def _on_line(self, part: Part, text: str) -> None:
        for watcher in self._watchers:
            watcher.line(part, text)

    def _on_change(self, supervised: Supervised) -> None:
        for watcher in self._watchers:
            watcher.change(supervised)
        self._write_state()
        self._soon = asyncio.ensure_future(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _on_end(self, supervised: Supervised, done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (error := done.exception()):
            supervised.state = "failed"
            supervised.detail = describe(error)
            self._on_change(supervised)

    def _tell_guard(self, message: str) -> None:
        if not self._guard_input.is_closing():
            self._guard_input.write(f"{message}\n".encode())

    def _write_state(self) -> None:
        self.home.write_state(
            {
                "pid": os.getpid(),
                "started": self.started,
                "urls": self.urls,
                "kafka": self.urls["broker"],
                "event_log": self.plan.event_log,
                "parts": [self._row(part) for part in self.parts.values()],
            }
        )

    def _row(self, part: Supervised) -> PartEntry:
        return {
            "name": part.part.name,
            "state": part.state,
            "detail": part.detail,
            "pid": part.pid,
            "url": part.part.url,
            "restarts": part.restarts,
            "since": part.since,
            "ours": bool(part.part.argv),
        }


def already() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event

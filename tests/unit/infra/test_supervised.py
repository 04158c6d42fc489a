"""One part under supervision, with tiny programs in place of services."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from infra.local import guard, process
from infra.local.part import Part
from infra.local.process import Supervised
from infra.local.supervisor import already

FOREVER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    " time.sleep(600)"
)
WITH_CHILD = (
    "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True);"
    " p.wait()"
)


class Heard:
    def __init__(self, program: str, **changes) -> None:
        self.lines: list[str] = []
        self.states: list[tuple[str, str]] = []
        part = Part(
            **(
                {
                    "name": "it",
                    "argv": (sys.executable, "-c", program),
                    "url": "",
                    "probe": self._said_something,
                    "stop_seconds": 2,
                }
                | changes
            )
        )
        self.it = Supervised(
            part,
            already(),
            lambda it: self.states.append((it.state, it.detail)),
            lambda _, line: self.lines.append(line),
            lambda _: None,
        )
        self.task: asyncio.Task | None = None

    async def _said_something(self) -> bool:
        return bool(self.lines)

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.it.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.it.stop()


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    """A zombie that waits for its parent does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_killed_part_is_started_again() -> None:
    async with Heard(FOREVER) as heard:
        await asyncio.wait_for(heard.it.first_ready.wait(), 60)
        first = heard.it.pid
        heard.it.kill()
        await until(
            lambda: heard.it.restarts == 1 and heard.it.state == "ready" and heard.it.pid != first
        )
    assert ("restarting", "was killed by SIGKILL; starts again in 0.2 s") in heard.states


async def test_a_part_that_is_alive_and_stuck_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "ALIVE_SECONDS", 0.01)
    stuck: set[int] = set()

    async def gets_on() -> bool:
        return heard.it.pid not in stuck

    async with Heard(FOREVER, alive=gets_on) as heard:
        await asyncio.wait_for(heard.it.first_ready.wait(), 60)
        await asyncio.sleep(0.2)
        assert heard.it.restarts == 0, "a part that gets on is left alone"
        stuck.add(heard.it.pid)
        await until(lambda: heard.it.restarts == 1 and heard.it.state == "ready")
    assert ("restarting", "it was alive and stuck, and was killed") in heard.states


async def test_a_part_that_keeps_dying_is_started_ever_more_slowly() -> None:
    async with Heard("raise SystemExit(3)") as heard:
        await until(lambda: heard.it.restarts == 3)
    delays = [detail.rsplit(" ", 2)[1] for state, detail in heard.states if state == "restarting"]
    assert delays[:3] == ["0.2", "0.4", "0.8"]


async def test_stopping_takes_the_parts_own_children_along() -> None:
    async with Heard(WITH_CHILD) as heard:
        await until(lambda: heard.lines)
        child = int(heard.lines[0])
        assert is_running(child)
    await until(lambda: not is_running(child))
    assert heard.it.pid is None
    assert heard.it.state == "stopped"


async def test_a_part_that_ignores_sigterm_is_killed_at_its_deadline() -> None:
    async with Heard(STUBBORN, stop_seconds=0.3) as heard:
        await until(lambda: heard.lines)
        pid = heard.it.pid
    assert not is_running(pid)
    assert "was killed" in heard.it.detail


async def test_a_line_longer_than_any_buffer_does_not_end_the_log() -> None:
    async with Heard(
        "print('x' * 3_000_000); print('after', flush=True); import time; time.sleep(600)"
    ) as heard:
        await until(lambda: "after" in heard.lines)
    assert len(heard.lines[0]) == 3_000_000


async def test_nothing_starts_before_what_it_comes_after() -> None:
    gate = asyncio.Event()
    heard = Heard(FOREVER)
    heard.it._started = gate
    async with heard:
        await asyncio.sleep(0.1)
        assert heard.it.pid is None
        gate.set()
        await until(lambda: heard.it.pid)


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_guard_kills_the_groups_of_a_dead_supervisor(forgotten: bool) -> None:
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    words = f"+{sleeper.pid}\n" + (f"-{sleeper.pid}\n" if forgotten else "")
    subprocess.run(
        [sys.executable, "-S", guard.__file__], input=words, text=True, timeout=20, check=True
    )
    time.sleep(0.1)
    assert (sleeper.poll() is None) == forgotten
    if forgotten:
        os.killpg(sleeper.pid, signal.SIGKILL)
        sleeper.wait()

"""A child process that talks back in JSON lines and never outlives its parent. Training and evaluation run in one."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from shared.errors import RatchetError

PR_SET_PDEATHSIG = 1
STDERR_LINES = 40


class ChildDied(RatchetError):
    """The child was killed or crashed: worth another attempt."""

    def __init__(self, code: int, last_words: str) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        super().__init__(f"the child process {how}: {last_words or 'it said nothing'}")
        self.code = code


async def run_child(argv: list[str], on_message: Callable[[dict[str, Any]], Awaitable[None]], env: dict[str, str] | None = None) -> None:
    """Run `argv`; each JSON line of its stdout goes to `on_message`. Raises ChildDied unless it exits with 0."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | (env or {}),
        preexec_fn=die_with_parent if sys.platform == "linux" else None, limit=16 * 1024 * 1024)  # fmt: skip
    stderr = asyncio.create_task(_tail(process.stderr))
    try:
        async for line in process.stdout:
            if line.startswith(b"{"):
                await on_message(json.loads(line))
        if code := await process.wait():
            raise ChildDied(code, "\n".join(await stderr)[-1500:])
    finally:
        stderr.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that `kill -9` of a service leaves no trainer behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def say(**message: Any) -> None:
    """In the child: report to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def _tail(stream: asyncio.StreamReader) -> list[str]:
    lines: deque[str] = deque(maxlen=STDERR_LINES)
    async for line in stream:
        lines.append(line.decode("utf-8", "replace").rstrip())
    return list(lines)

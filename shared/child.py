"""A child process that talks back in JSON lines and never outlives its parent. Training and
evaluation run in one.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from threading import Thread
from typing import Any

from shared.errors import RatchetError

PR_SET_PDEATHSIG = 1
STDERR_LINES = 40
# The file that the heartbeat of the current job touches, and the seconds after which silence means
# that the job is lost.
LEASE: ContextVar[tuple[str, float] | None] = ContextVar("lease", default=None)
# how the child is told
LEASE_FILE = "RATCHET_CHILD_LEASE_FILE"
LEASE_SECONDS = "RATCHET_CHILD_LEASE_SECONDS"


class ChildDied(RatchetError):
    """The child was killed or crashed: worth another attempt."""

    def __init__(self, code: int, last_words: str) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        super().__init__(f"the child process {how}: {last_words or 'it said nothing'}")
        self.code = code


class ChildSilent(RatchetError):
    """The child hangs, on a lost GPU say: it was killed, and is worth another attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the child process said nothing for {seconds:.0f} s and was killed: it hung, or a step"
            " takes longer than that"
        )


async def run_child(
    argv: list[str],
    on_message: Callable[[dict[str, Any]], Awaitable[None]],
    env: dict[str, str] | None = None,
    silence: float | None = None,
) -> None:
    """Run `argv`; each JSON line of its stdout goes to `on_message`. Raises ChildDied unless it
    exits with 0.

    Raises ChildSilent after `silence` seconds without a line; without it a child may be silent for
    ever.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | leased() | (env or {}),
        preexec_fn=_killed_with_parent if sys.platform == "linux" else None,
        limit=16 * 1024 * 1024,
    )
    # Both are pipes; this tells mypy.
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    stderr = asyncio.create_task(_tail(process.stderr))
    try:
        while line := await _next_line(process.stdout, silence):
            if line.startswith(b"{"):
                await on_message(json.loads(line))
        if code := await process.wait():
            raise ChildDied(code, "\n".join(await stderr)[-1500:])
    finally:
        stderr.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _next_line(stream: asyncio.StreamReader, silence: float | None) -> bytes:
    try:
        return await asyncio.wait_for(stream.readline(), silence)
    except TimeoutError as error:
        raise ChildSilent(silence or 0.0) from error


def leased() -> dict[str, str]:
    lease = LEASE.get()
    return {LEASE_FILE: lease[0], LEASE_SECONDS: str(lease[1])} if lease else {}


def die_with_parent() -> None:
    """Make this process end with its parent; called in the child.

    It is killed when the parent dies, so that `kill -9` of a service leaves no trainer behind. It
    stops by itself when the parent no longer renews the lease: a parent that is merely stopped
    would not be noticed otherwise, and its successor would share the GPU with this process.
    """
    _killed_with_parent()
    if LEASE_FILE in os.environ:
        Thread(
            target=_watch_lease,
            args=(Path(os.environ[LEASE_FILE]), float(os.environ[LEASE_SECONDS])),
            daemon=True,
        ).start()


def _killed_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch_lease(path: Path, seconds: float) -> None:
    """End the process once the file was not touched for `seconds`; no two clocks are compared."""
    touched = 0
    since = time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(seconds / 10)
        try:
            latest = path.stat().st_mtime_ns
        except OSError:  # removed: the job has ended, or was taken from our parent
            break
        if latest != touched:
            touched = latest
            since = time.monotonic()
    sys.stderr.write(
        "the lease of this job was not renewed: its worker is stopped, or no longer has it\n"
    )
    sys.stderr.flush()
    os._exit(1)


def say(**message: Any) -> None:
    """Report to the parent; called in the child."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def _tail(stream: asyncio.StreamReader) -> list[str]:
    lines: deque[str] = deque(maxlen=STDERR_LINES)
    async for line in stream:
        lines.append(line.decode("utf-8", "replace").rstrip())
    return list(lines)

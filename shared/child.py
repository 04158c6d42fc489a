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
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Thread
from typing import Any

from shared.describing import describe
from shared.errors import RatchetError

PR_SET_PDEATHSIG = 1
STDERR_BYTES = 256 * 1024
# the key of the message in which a child says what it dies of
DIED_OF = "died_of"
# The file that the heartbeat of the current job touches, and the seconds after which silence means
# that the job is lost.
LEASE: ContextVar[tuple[str, float] | None] = ContextVar("lease", default=None)
# how the child is told
LEASE_FILE = "RATCHET_CHILD_LEASE_FILE"
LEASE_SECONDS = "RATCHET_CHILD_LEASE_SECONDS"


class ChildDied(RatchetError):
    """The child was killed or crashed: worth another attempt.

    `last_words` is the end of its stderr. It may hold what it worked on, so no message says it: it
    is in the file `kept`, for whoever runs this machine.
    """

    def __init__(
        self, code: int, last_words: str = "", died_of: str = "", kept: Path | None = None
    ) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        of = f" after {died_of}" if died_of else ""
        where = f"; what it wrote is on its worker in {kept}" if kept else ""
        super().__init__(f"the child process {how}{of}{where}")
        self.code = code
        self.last_words = last_words


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
    keep_stderr: Path | None = None,
) -> None:
    """Run `argv`; each JSON line of its stdout goes to `on_message`. Raises ChildDied unless it
    exits with 0.

    Raises ChildSilent after `silence` seconds without a line; without it a child may be silent for
    ever. What a child that ends otherwise wrote to stderr goes to the file `keep_stderr`.
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
    died_of = ""
    try:
        while line := await _next_line(process.stdout, silence):
            if line.startswith(b"{"):
                message = json.loads(line)
                if DIED_OF in message:
                    died_of = message[DIED_OF]
                else:
                    await on_message(message)
        if code := await process.wait():
            last_words = await stderr
            kept = await asyncio.to_thread(keep, keep_stderr, last_words)
            raise ChildDied(code, last_words.decode("utf-8", "replace"), died_of, kept)
    finally:
        stderr.cancel()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                kill_tree(process.pid)
            await process.wait()


def kill_tree(pid: int) -> None:
    """Kill a process and what descends from it.

    A launcher's processes lead sessions of their own. Those that had not yet asked to die with it
    lived on, and held our pipes open.
    """
    # So that it starts no other meanwhile.
    os.kill(pid, signal.SIGSTOP)
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(ProcessLookupError):
                kill_tree(int(child))
    os.kill(pid, signal.SIGKILL)


def keep(path: Path | None, stderr: bytes) -> Path | None:
    """Write what a child said into a file that its owner alone can read; return where it is."""
    if path is None or not stderr:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(stderr)
    # a full disk must not hide how the child ended
    except OSError:
        return None
    return path


async def _next_line(stream: asyncio.StreamReader, silence: float | None) -> bytes:
    try:
        # not `wait_for`: before Python 3.12 it loses a cancellation that meets a line
        async with asyncio.timeout(silence):
            return await stream.readline()
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


def confess(error: Exception) -> None:
    """Tell the parent what this process dies of, without a value of anybody's."""
    say(**{DIED_OF: f"{type(error).__name__}: {describe(error)}"})


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Read a child's stderr to its end and return the last of it, however long its lines are."""
    tail = b""
    while block := await stream.read(65_536):
        tail = (tail + block)[-STDERR_BYTES:]
    return tail

"""Does a piece of set-up once, whole, and in one process at a time, also when interrupted."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.setup.machine import SetupError
from infra.setup.places import ROOT, cache_dir
from infra.setup.report import say

# Many images set it, and then every start would compile torch again: 10 s
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


@contextmanager
def only_one(step: str, target: Path) -> Iterator[None]:
    """Hold a lock that ends with its process, so that a killed run leaves nothing behind."""
    locks = cache_dir() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / str(target).strip("/").replace("/", "-")).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(step, "waiting: another run of the set-up is making this")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(step: str, target: Path, ready: Callable[[], bool], make: Callable[[], None]) -> None:
    if not ready():
        with only_one(step, target):
            # Another run may have made it while this one waited.
            if not ready():
                make()
    say(step, "ready")


def run(step: str, argv: Sequence[str], *, next_step: str) -> None:
    """Run a program quietly; where it fails, raise the end of what it printed and what to do."""
    log = cache_dir() / "logs" / f"setup-{step}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as sink:
        sink.write(f"\n$ {' '.join(argv)}\n")
        sink.flush()
        env = {**os.environ, **BYTECODE}
        failed = subprocess.run(
            argv, cwd=ROOT, env=env, stdout=sink, stderr=subprocess.STDOUT
        ).returncode
    if failed:
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-12:])
        raise SetupError(
            f"{step}: `{argv[0]} ...` failed:\n  {tail}\nAll of it: {log}. Next: {next_step}"
        )


def stamp_says(venv: Path, inputs: str) -> bool:
    stamp = venv / "ratchet-stamp"
    return stamp.is_file() and stamp.read_text() == inputs


def write_stamp(venv: Path, inputs: str) -> None:
    """Mark an environment as whole, with one rename; one without the mark is never used."""
    fresh = venv / "ratchet-stamp.new"
    fresh.write_text(inputs)
    fresh.rename(venv / "ratchet-stamp")

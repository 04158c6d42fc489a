"""Files and folders of a local disk that appear whole or not at all, whoever is killed while
writing them.

What is being written has a name that nobody looks for, and its writer holds a lock on it. The lock
goes with the process, so what a killed one left behind is known without a clock, and the next
writer removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared import failpoints

PARTIAL = ".partial"
YOUNG_SECONDS = 60.0  # between creating and locking it: compared by the disk's own times of change


@contextmanager
def partial_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a locked folder to write in; it is removed afterwards unless it was promoted."""
    parent.mkdir(parents=True, exist_ok=True)
    with _locked(parent / f".{name}.{uuid.uuid4().hex}{PARTIAL}", 0o777) as folder:
        remove_abandoned(parent, f".*{PARTIAL}", than=folder)
        yield folder


@contextmanager
def private_folder(name: str) -> Iterator[Path]:
    """Make a temporary folder of this user alone.

    What a killed process leaves in it, the next of that name removes.
    """
    with _locked(
        Path(tempfile.gettempdir()) / f".{name}.{os.getuid()}.{uuid.uuid4().hex}{PARTIAL}", 0o700
    ) as folder:
        remove_abandoned(folder.parent, f".{name}.{os.getuid()}.*{PARTIAL}", than=folder)
        yield folder


@contextmanager
def _locked(folder: Path, mode: int) -> Iterator[Path]:
    folder.mkdir(mode)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_abandoned(parent: Path, pattern: str, than: Path) -> None:
    """Remove folders whose writer is gone, and that are older than our own."""
    newest = than.stat().st_mtime - YOUNG_SECONDS
    for folder in parent.glob(pattern):
        with suppress(OSError):  # somebody else removes it, or still writes it
            if folder != than and folder.stat().st_mtime <= newest and is_abandoned(folder):
                shutil.rmtree(folder)


def is_abandoned(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def promote(folder: Path, target: Path, is_whole: Callable[[Path], bool]) -> None:
    """Give a complete folder its name in one step. Where the same content already stands whole,
    ours is not needed.
    """
    sync_tree(folder)
    failpoints.reach("blob.before-promote")
    for _ in range(3):
        try:
            folder.rename(target)
            sync(target.parent)
            return
        except OSError:
            if not target.exists():
                raise
            if is_whole(target):
                return
            # of a release that wrote in place
            target.rename(target.with_name(f".{target.name}.{uuid.uuid4().hex}{PARTIAL}"))
    raise FileExistsError(target)


def write_file(target: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, and stays after a power cut."""
    with partial_folder(target.parent, target.name) as folder:
        file = folder / target.name
        half = len(data) // 2
        with file.open("wb") as out:
            out.write(data[:half])
            failpoints.reach("blob.half-written")
            out.write(data[half:])
        sync(file)
        failpoints.reach("blob.before-promote")
        file.rename(target)
        sync(target.parent)


def sync_tree(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        sync(path)


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Artifacts are there whole, or not at all: killed writers, full disks, two writers at once, object
stores, changed bytes.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from schemas.base import BlobRef
from shared import failpoints
from shared.storage import files as atomic
from shared.storage.blobs import COMPLETE, BlobCorrupt, BlobMissing, BlobStore, folder_digest

STEPS = ("blob.half-written", "blob.before-promote")


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


@pytest.fixture(params=["folder", "object-store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """fsspec's memory file system stands for what has no rename: an object appears when it was
    uploaded.
    """
    return BlobStore(
        f"file://{tmp_path}/artifacts"
        if request.param == "folder"
        else f"memory://{tmp_path.name}-{time.monotonic_ns()}"
    )


@pytest.fixture
def local(tmp_path: Path) -> BlobStore:
    return BlobStore(f"file://{tmp_path}/artifacts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made" / "deep").mkdir(parents=True)
    for name in ("a.bin", "b.bin", "deep/c.bin"):
        (tmp_path / "made" / name).write_bytes(name.encode() * 1000)
    return tmp_path / "made"


def stored(tmp_path: Path) -> list[str]:
    """What anybody could take for an artifact."""
    return sorted(
        path.name for path in (tmp_path / "artifacts").glob("*/*") if not path.name.startswith(".")
    )


def halves(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "artifacts").rglob("*.partial"))


def in_a_child(act: Callable[[], object]) -> int:
    """Its exit code; minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_was_stored_comes_back(store: BlobStore, folder: Path, tmp_path: Path) -> None:
    ref = store.put_folder(folder, "adapters")
    assert store.put_folder(folder, "adapters") == ref
    copy = store.get_folder(ref, tmp_path / "copy")
    assert (
        folder_digest(copy) == folder_digest(folder) == ref.sha256
        and (copy / "deep" / "c.bin").exists()
    )
    assert store.get_bytes(store.put_bytes(b"report", "reports", ".html")) == b"report"


@pytest.mark.parametrize("step", STEPS)
def test_out_of_space_nothing_is_there_and_the_next_attempt_stores_it(
    store: BlobStore, folder: Path, tmp_path: Path, step: str
) -> None:
    failpoints.arm(step, "error")
    with pytest.raises(OSError, match=step) as full:
        store.put_folder(folder, "adapters")
    assert full.value.errno == errno.ENOSPC
    ref = BlobRef(uri=f"{store.url}/adapters/{folder_digest(folder)}", sha256=folder_digest(folder))
    with pytest.raises(BlobMissing):
        store.get_folder(ref, tmp_path / "copy")
    store.put_folder(folder, "adapters")
    assert folder_digest(store.get_folder(ref, tmp_path / "copy")) == ref.sha256


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_writer_leaves_nothing_that_looks_stored_and_the_next_one_cleans_up(
    local: BlobStore, folder: Path, tmp_path: Path, step: str
) -> None:
    def killed() -> None:
        failpoints.arm(step, "kill")
        local.put_folder(folder, "adapters")

    assert in_a_child(killed) == -signal.SIGKILL
    assert stored(tmp_path) == [] and len(halves(tmp_path)) == 1
    an_hour_ago = time.time() - 3600
    os.utime(halves(tmp_path)[0], (an_hour_ago, an_hour_ago))
    ref = local.put_folder(folder, "adapters")
    assert stored(tmp_path) == [ref.sha256] and halves(tmp_path) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_file_is_there_whole_or_not_at_all(local: BlobStore, tmp_path: Path, step: str) -> None:
    failpoints.arm(step, "error")
    with pytest.raises(OSError, match=step):
        local.put_bytes(b"report" * 1000, "reports", ".html")
    assert stored(tmp_path) == [] and halves(tmp_path) == []
    assert (
        local.get_bytes(local.put_bytes(b"report" * 1000, "reports", ".html")) == b"report" * 1000
    )


def test_what_another_process_is_still_writing_is_left_alone(
    local: BlobStore, folder: Path, tmp_path: Path
) -> None:
    with atomic.partial_folder(tmp_path / "artifacts" / "adapters", "slow") as slow:
        an_hour_ago = time.time() - 3600
        os.utime(slow, (an_hour_ago, an_hour_ago))
        local.put_folder(folder, "adapters")
        assert slow.exists()
    assert halves(tmp_path) == []


@pytest.mark.parametrize("bytes_", [1, 3000])
def test_a_file_that_may_not_grow_is_not_stored(
    local: BlobStore, folder: Path, tmp_path: Path, bytes_: int
) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))
        local.put_folder(folder, "adapters")

    assert in_a_child(limited) == errno.EFBIG
    assert stored(tmp_path) == [] and halves(tmp_path) == []
    local.put_folder(folder, "adapters")
    assert len(stored(tmp_path)) == 1


def test_writers_of_the_same_content_do_each_other_no_harm(
    local: BlobStore, folder: Path, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(12) as threads:
        folders = [threads.submit(local.put_folder, folder, "adapters") for _ in range(12)]
        files = [threads.submit(local.put_bytes, b"the same", "reports") for _ in range(12)]
        uris = {done.result().uri for done in folders + files}
    assert len(uris) == 2 and halves(tmp_path) == []


def test_fetching_at_the_same_time_takes_nothing_away(
    local: BlobStore, folder: Path, tmp_path: Path
) -> None:
    """A zombie and its successor fetch the same dataset: whoever comes second leaves the first
    one's copy where it is.
    """
    ref = local.put_folder(folder, "datasets")

    def fetch() -> bool:
        return all(
            (local.get_folder(ref, tmp_path / "copy") / "deep" / "c.bin").exists()
            for _ in range(10)
        )

    with ThreadPoolExecutor(8) as threads:
        assert all(done.result() for done in [threads.submit(fetch) for _ in range(8)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "copy", "made"]


def test_content_that_changes_while_it_is_stored_is_not_stored(
    local: BlobStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach = failpoints.reach
    monkeypatch.setattr(
        failpoints, "reach", lambda name: ((folder / "b.bin").write_bytes(b"changed"), reach(name))
    )
    with pytest.raises(BlobCorrupt):
        local.put_folder(folder, "adapters")
    assert stored(tmp_path) == []


def test_an_upload_that_came_out_differently_is_not_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore("memory://upload")
    fs = fsspec.filesystem("memory")
    put_file = type(fs).put_file
    monkeypatch.setattr(
        type(fs),
        "put_file",
        lambda self, source, target, **kw: (
            put_file(self, source, target, **kw),
            self.pipe_file(target, b"x"),
        ),
    )
    with pytest.raises(BlobCorrupt):
        store.put_folder(folder, "adapters")
    assert not fs.exists(f"/upload/adapters/{folder_digest(folder)}/{COMPLETE}")


def test_what_an_older_release_left_half_written_is_replaced(
    local: BlobStore, folder: Path, tmp_path: Path
) -> None:
    half = tmp_path / "artifacts" / "adapters" / folder_digest(folder)
    half.mkdir(parents=True)
    (half / "a.bin").write_bytes(b"half")
    ref = local.put_folder(folder, "adapters")
    assert folder_digest(local.get_folder(ref, tmp_path / "copy")) == ref.sha256

"""A child dies with its parent; and, when the parent is only stopped or has lost the job, by
itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.child import LEASE_FILE, LEASE_SECONDS, ChildSilent, run_child

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="asks Linux to kill the child with its parent"
)
CHILD = (
    "import os, time; from shared.child import die_with_parent, say; die_with_parent();"
    " say(pid=os.getpid()); time.sleep(60)"
)
PARENT = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import MetaData
from shared.storage.db import Database
from shared.child import run_child
from shared.jobs.worker import JobStore, run_leased

async def main(url, child, said):
    db, metadata = Database(url), MetaData()
    store = JobStore(db, metadata, lease_seconds=1.0)
    await db.create_tables(metadata)
    async with db.transaction() as tx:
        await store.add(tx, "train", "one", {})
    async def hear(message):
        Path(said).write_text(str(message["pid"]))
    job = await store.claim("train")
    await run_leased(store, job, lambda job: run_child([sys.executable, "-c", child], hear))

asyncio.run(main(*sys.argv[1:]))
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition, seconds: float):
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.05)
    return found


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_child_does_not_outlive_its_worker_for_longer_than_the_lease(
    tmp_path: Path, fault: signal.Signals
) -> None:
    said = tmp_path / "pid"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, f"sqlite+aiosqlite:///{tmp_path}/t.db", CHILD, said]
    )
    try:
        pid = int(await until(lambda: said.exists() and said.read_text(), 60))
        # longer than the lease: while its worker renews it, the child goes on
        await asyncio.sleep(2.5)
        assert alive(pid)
        parent.send_signal(fault)
        await until(lambda: not alive(pid), 20)
    finally:
        parent.kill()
        parent.wait()


def test_a_child_that_was_stopped_itself_goes_on_while_its_worker_renews(tmp_path: Path) -> None:
    """It compares no clocks: after a pause it looks whether the file was touched meanwhile."""
    lease = tmp_path / "lease"
    lease.touch()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
        env=os.environ | {LEASE_FILE: str(lease), LEASE_SECONDS: "1.0"},
    )
    try:
        assert child.stdout.readline()
        child.send_signal(signal.SIGSTOP)
        time.sleep(2)
        os.utime(lease)
        child.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        assert child.poll() is None
        assert "was not renewed" in child.communicate(timeout=20)[1] and child.returncode == 1
    finally:
        child.kill()
        child.wait()


async def test_a_child_that_hangs_is_killed_and_worth_another_attempt() -> None:
    heard = []

    async def hear(message: dict) -> None:
        heard.append(message["pid"])

    with pytest.raises(ChildSilent, match="said nothing for 5 s") as hung:
        await run_child([sys.executable, "-c", CHILD], hear, silence=5.0)
    assert heard and not alive(heard[0]) and not hung.value.retryable


LAUNCHER = """
import subprocess, sys
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
other = subprocess.Popen(sleeper, start_new_session=True)
print('{"pid": %d}' % other.pid, flush=True)
other.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds descendants through /proc")
async def test_what_a_launcher_started_ends_with_it_and_is_not_waited_for() -> None:
    """As torchrun starts the processes of a training: leading sessions of their own."""
    started = []

    async def stop(message: dict[str, int]) -> None:
        started.append(message["pid"])
        raise KeyError

    with pytest.raises(KeyError):
        async with asyncio.timeout(20):
            await run_child([sys.executable, "-c", LAUNCHER], stop)
    # Its parent is gone: the system takes it away.
    await until(lambda: not alive(started[0]), 10)

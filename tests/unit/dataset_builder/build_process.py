"""A dataset-builder's worker in a process of its own, which a test may kill, stop, fill the disk
of, or take the fence from.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from sqlalchemy import update

from services.dataset_builder.order import JOB
from shared import failpoints
from shared.jobs.worker import JobStore, work_once
from tests.unit.dataset_builder.rig import Rig

LEASE = 1.0
# a fork of a process that has imported everything: 20 ms, not 3 s
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Orders:
    database_url: str
    folder: Path
    failpoint: str = ""
    action: failpoints.Action = "kill"
    file_limit: int | None = None
    fenced: bool = True
    seconds: float = 30.0  # it ends by itself after that, or when nothing is left to do


def start(orders: Orders) -> BaseProcess:
    process = CONTEXT.Process(target=main, args=(orders,), daemon=True)
    process.start()
    return process


def main(orders: Orders) -> None:
    if orders.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (orders.file_limit, resource.RLIM_INFINITY))
    if orders.failpoint:
        failpoints.arm(orders.failpoint, orders.action)
    if not orders.fenced:
        JobStore._fenced = believed
    asyncio.run(build_what_is_queued(orders))


async def build_what_is_queued(orders: Orders) -> None:
    rig = Rig(orders.database_url, orders.folder)
    rig.jobs.lease_seconds = LEASE
    until = time.monotonic() + orders.seconds
    while (
        time.monotonic() < until
        and await rig.jobs.counts()
        and any(state in ("queued", "running") for _, state in await rig.jobs.counts())
    ):
        if not await work_once(rig.jobs, JOB, rig.builder.run, rig.builder.gave_up):
            await asyncio.sleep(0.05)
    await rig.db.close()


async def believed(self: JobStore, tx, job, values: dict) -> None:
    """The negative control: whoever ends a job is believed."""
    await tx.execute(update(self.table).where(self.table.c.job_id == job.job_id).values(**values))


def is_stopped(process: BaseProcess) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wake(process: BaseProcess) -> None:
    os.kill(process.pid, signal.SIGCONT)

"""Renews the lease of one job from a thread of its own: a busy event loop, or a long hold of the
database, costs no lease.

The thread has its own event loop and its own connection. It also touches a file that child
processes watch: a child whose parent was stopped, or has lost the job, kills itself
(`shared.child.die_with_parent`).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Self

from shared.child import LEASE
from shared.describing import describe
from shared.jobs.records import Job, LeaseLost
from shared.jobs.store import JobStore
from shared.storage import Database
from shared.telemetry import log

RENEWALS_PER_LEASE = (
    5  # four may fail before the lease is lost; a cancelled job is noticed after one: 3 s
)
# a worker's loop that answers nothing for that long is taken for dead: others may have its job
STUCK_SECONDS = 300.0


class Heartbeat:
    """`lost` is set in the worker's loop as soon as the job is somebody else's, or cancelled."""

    def __init__(self, store: JobStore, job: Job) -> None:
        self.store = store
        self.job = job
        self.lost = asyncio.Event()
        self._every = store.lease_seconds / RENEWALS_PER_LEASE
        self._workers_loop = asyncio.get_running_loop()
        self._own_loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = Thread(target=self._run, name=f"heartbeat-{job.job_id}", daemon=True)
        self._unanswered = 0
        self._file: Path | None = None

    async def __aenter__(self) -> Self:
        # no room for an empty file: the children go unwatched, the lease does not
        with suppress(OSError):
            handle, path = tempfile.mkstemp(prefix="ratchet-lease-")
            os.close(handle)
            self._file = Path(path)
        # for the tasks that start from here
        LEASE.set((str(self._file), self.store.lease_seconds) if self._file else None)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # it has ended by itself
            self._own_loop.call_soon_threadsafe(self._stopped.set)
        LEASE.set(None)
        await asyncio.to_thread(self._thread.join, self.store.lease_seconds)

    def _run(self) -> None:
        try:
            self._own_loop.run_until_complete(self._beat())
        finally:
            self._own_loop.close()
            if self._file:
                self._file.unlink(missing_ok=True)

    async def _beat(self) -> None:
        db = Database(self.store.db.url)
        store = self.store.through(db)
        try:
            while not await self._stopped_within(self._every):
                if self._worker_is_stuck() or not await self._renewed(store):
                    return
        finally:
            await db.close()

    async def _renewed(self, store: JobStore) -> bool:
        """Renew the lease once; return False when the beat must end.

        A database that is away does not end it: nobody else can claim the job either, and a stale
        token publishes nothing.
        """
        if self._file:
            os.utime(self._file)
        try:
            async with asyncio.timeout(store.lease_seconds):
                return await store.renew(self.job)
        except LeaseLost:
            self._tell(self.lost.set)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it was, the next beat tries again
            log("jobs").warning(
                "lease not renewed, will try again",
                job_id=self.job.job_id,
                error=describe(error),
            )
            return True

    def _worker_is_stuck(self) -> bool:
        """Counts beats, not time: a process that was paused for an hour has missed one."""
        self._unanswered += 1
        self._tell(self._answer)
        if self._unanswered * self._every < STUCK_SECONDS:
            return False
        log("jobs").error("the worker is stuck: its job is left to others", job_id=self.job.job_id)
        self._tell(self.lost.set)
        return True

    def _answer(self) -> None:
        self._unanswered = 0

    def _tell(self, call: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the worker's loop was closed
            self._workers_loop.call_soon_threadsafe(call)

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        return self._stopped.is_set()

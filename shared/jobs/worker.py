"""Durable long work: stored, leased by the database's clock, fenced by a token, done in a child
process.

A handler adds a job and returns in milliseconds. A worker claims it, a heartbeat renews its lease,
and the worker finishes it in the transaction that also publishes its event. A worker that lost its
lease cannot finish: its token is stale.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import failpoints
from shared.describing import describe
from shared.errors import JobFailed, RatchetError, Retryable
from shared.jobs.heartbeat import Heartbeat
from shared.jobs.limits import Limit, TimeUp, TurnOver
from shared.jobs.records import Job, LeaseLost, as_job
from shared.jobs.store import LEASE_SECONDS, MAX_ATTEMPTS, Ended, JobStore
from shared.telemetry import log

__all__ = [
    "LEASE_SECONDS",
    "MAX_ATTEMPTS",
    "DiskFull",
    "Ended",
    "Job",
    "JobStore",
    "LeaseLost",
    "Limit",
    "TimeUp",
    "TurnOver",
    "as_job",
    "run_leased",
    "work",
]

POLL_SECONDS = 0.5
LONGEST_BACKOFF = 30.0  # seconds between attempts while something the job needs is away
TIDY_SECONDS = 60.0
WATCH_SECONDS = 5.0
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
# as children, torch and SQLite say it
NO_ROOM_IN_WORDS = (
    *map(os.strerror, NO_ROOM),
    "file write failed",
    "disk is full",
)

JOBS = Gauge("ratchet_jobs", "Jobs by state", ["kind", "state"])
SILENCE = Gauge(
    "ratchet_job_heartbeat_age_seconds",
    "Since the lease of a running job was renewed, by the database's clock",
    ["kind", "job_id"],
)

Run = Callable[[Job], Awaitable[None]]
Tidy = Callable[[], Awaitable[None]]


class DiskFull(Retryable):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"disk: {words_of(cause)}; make room, or make it writable: the job goes on by itself"
        )


async def work(
    store: JobStore,
    kind: str,
    run: Run,
    on_failure: Ended | None = None,
    tidy: Tidy | None = None,
    limit: Limit | None = None,
) -> None:
    """Claim jobs and run them until cancelled.

    `run` ends with its own transaction that calls `store.finish`. `on_failure(tx, job, reason,
    will_retry)` may publish the failure in the transaction that stores it. `tidy` removes what
    ended jobs have left on this machine's disk. A job that ran longer than `limit` fails.
    """
    tasks = [asyncio.create_task(watch(store))] + (
        [asyncio.create_task(keep_tidy(tidy))] if tidy else []
    )
    try:
        while True:
            if not await work_once(store, kind, run, on_failure, limit):
                await asyncio.sleep(POLL_SECONDS)
            elif tidy:
                await tidy_up(tidy)
    finally:
        for task in tasks:
            task.cancel()


async def work_once(
    store: JobStore,
    kind: str,
    run: Run,
    on_failure: Ended | None = None,
    limit: Limit | None = None,
) -> bool:
    """Run one job; return False when there was nothing to do."""
    try:
        job = await store.claim(kind, on_failure)
        if job:
            await run_leased(store, job, run, on_failure, limit)
        return job is not None
    except LeaseLost as lost:  # nothing to repair: whoever has the job now goes on with it
        log("jobs").info("stopped working", kind=kind, why=str(lost))
        return True
    except Exception as error:  # noqa: BLE001 - a worker must outlive any single job
        log("jobs").error("worker trouble", kind=kind, error=describe(error))
    return False


async def run_leased(
    store: JobStore,
    job: Job,
    run: Run,
    on_failure: Ended | None = None,
    limit: Limit | None = None,
) -> None:
    """Run one claimed job under a heartbeat. A lost lease cancels the run and raises LeaseLost;
    being stopped gives the job back; what is over its limit is cancelled and fails.
    """
    seconds = limit.left(job) if limit else None
    async with Heartbeat(store, job) as heartbeat:
        running = asyncio.create_task(_run(store, job, run, on_failure))
        lost = asyncio.create_task(heartbeat.lost.wait())
        try:
            done, _ = await asyncio.wait(
                {running, lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            await _ended(running, lost)
            await _give_back(store, job)
            raise
        ended = await _ended(running, lost)
        if limit and not done and isinstance(ended, asyncio.CancelledError):
            await _record(store, job, TimeUp(limit), on_failure)
            return
    if isinstance(ended, asyncio.CancelledError):
        raise LeaseLost(job.job_id)
    if ended:
        raise ended


async def _ended(running: asyncio.Task[None], lost: asyncio.Task[bool]) -> BaseException | None:
    for task in (running, lost):
        task.cancel()
    return (await asyncio.gather(running, lost, return_exceptions=True))[0]


async def _give_back(store: JobStore, job: Job) -> None:
    """Release the job: a rolling restart is nobody's fault.

    The next worker takes it at once, and no attempt is counted.
    """
    with suppress(LeaseLost, Retryable):
        await store.release(job)


async def _run(store: JobStore, job: Job, run: Run, on_failure: Ended | None) -> None:
    try:
        await run(job)
    except LeaseLost:
        raise
    except TurnOver as pause:
        await _pause(store, job, str(pause), on_failure)
    except Exception as error:  # noqa: BLE001 - the reason is stored with the job, whatever it was
        await _record(store, job, DiskFull(error) if is_out_of_room(error) else error, on_failure)
    else:
        failpoints.reach("job.after-finish")


async def _record(store: JobStore, job: Job, error: Exception, on_failure: Ended | None) -> None:
    """Store why the attempt failed; while the database itself is away or out of room, try again."""
    # not the job's fault: it waits as long as it takes
    away = isinstance(error, RatchetError) and error.retryable
    retry = away or (not isinstance(error, JobFailed) and job.strikes + 1 < MAX_ATTEMPTS)
    reason = describe(error)
    backoff = min(2.0 ** min(job.attempt - 1, 10), LONGEST_BACKOFF) if away else 0.0
    log("jobs").error(
        "attempt failed",
        kind=job.kind,
        job_id=job.job_id,
        attempt=job.attempt,
        retry=retry,
        error=reason[:500],
    )

    async def fail(tx: AsyncConnection) -> None:
        await store.fail(tx, job, reason, retry, backoff, counts=not away)
        if on_failure:
            await on_failure(tx, job, reason, retry)

    await _store(store, job, fail, max(POLL_SECONDS, backoff))


async def _pause(store: JobStore, job: Job, reason: str, on_failure: Ended | None) -> None:
    log("jobs").info("paused", kind=job.kind, job_id=job.job_id, why=reason)

    async def pause(tx: AsyncConnection) -> None:
        await store.pause(tx, job, reason)
        if on_failure:
            await on_failure(tx, job, reason, True)

    await _store(store, job, pause, POLL_SECONDS)


async def _store(
    store: JobStore, job: Job, write: Callable[[AsyncConnection], Awaitable[None]], again: float
) -> None:
    """Store how an attempt ended; while the database is away, try until it is back."""
    while True:
        try:
            async with store.db.transaction() as tx:
                await write(tx)
            return
        except Retryable as trouble:
            log("jobs").warning("its end is not stored yet", job_id=job.job_id, error=trouble.name)
            await asyncio.sleep(again)


def is_out_of_room(error: BaseException) -> bool:
    """Full, over quota or read-only, here or in a child: an operator cures it, and the same attempt
    then passes.
    """
    return any(
        (isinstance(cause, OSError) and cause.errno in NO_ROOM) or no_room_in(cause)
        for cause in causes(error)
    )


def no_room_in(error: BaseException) -> str | None:
    """Return the words that say so, in a message or in what a child wrote last."""
    said = str(error) + getattr(error, "last_words", "")
    return next((words for words in NO_ROOM_IN_WORDS if words in said), None)


def words_of(error: BaseException) -> str:
    found = filter(None, map(no_room_in, causes(error)))
    return next(found, None) or describe(error)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__


async def keep_tidy(tidy: Tidy) -> None:
    while True:
        await tidy_up(tidy)
        await asyncio.sleep(TIDY_SECONDS)


async def tidy_up(tidy: Tidy) -> None:
    try:
        await tidy()
    except Exception as error:  # noqa: BLE001 - the next round tries again
        log("jobs").warning("not tidied", error=describe(error))


async def watch(store: JobStore) -> None:
    """Keeps the gauges current: this service's jobs, and how long ago each lease was renewed."""
    seen: dict[Gauge, set[tuple[str, str]]] = {JOBS: set(), SILENCE: set()}
    while True:
        with suppress(Retryable):
            set_gauge(JOBS, seen, await store.counts())
            set_gauge(
                SILENCE,
                seen,
                {(job.kind, job.job_id): job.silent or 0.0 for job in await store.running()},
            )
        await asyncio.sleep(WATCH_SECONDS)


def set_gauge(
    gauge: Gauge, seen: dict[Gauge, set[tuple[str, str]]], values: Mapping[tuple[str, str], float]
) -> None:
    for labels in seen[gauge] - values.keys():
        gauge.remove(*labels)
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
    seen[gauge] = set(values)

"""Writes at a fixed rate, first alone and then while housekeeping deletes."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import dataclass

from sqlalchemy import func, select

from benchmarks.soak.tables import READ, TOPIC, Tables, fill, make_tables
from schemas.base import uuid7
from shared.events import Delivery, Housekeeping, OutboxRow, Place, Relay, Rendered
from shared.storage import Database

OLD_SHARE = 0.5
ALONE_SECONDS = 30.0
KEEP_HOURS = 72.0


@dataclass(frozen=True)
class Writes:
    """Latencies in ms, from the moment a write was due."""

    count: int
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Soak:
    """What one database did; times in seconds unless their name says ms."""

    database: str
    rows: int
    payload: int
    fill_seconds: float
    before: Writes
    during: Writes
    housekeeping_seconds: float
    finished: bool
    deleted: int
    ready_ms: float
    load: float

    @property
    def deleted_a_second(self) -> float:
        return self.deleted / self.housekeeping_seconds


class NoLog:
    """A sender that acknowledges at once: the database is measured, not a log."""

    async def send(self, rows: list[OutboxRow]) -> Delivery:
        return Delivery({row.seq: Place(0, row.seq) for row in rows})

    async def close(self) -> None: ...


async def measure(name: str, db: Database, plan: argparse.Namespace) -> Soak:
    tables = make_tables(db)
    began = time.monotonic()
    await fill(tables, plan.rows, OLD_SHARE, plan.payload)
    filled = time.monotonic() - began
    relay = Relay(db, tables.outbox, NoLog(), None, tables.lease, "soak")
    relaying = asyncio.create_task(relay.run())
    before = await writes(tables, plan.rate, ALONE_SECONDS)
    ready = time.perf_counter()
    await relay.state()
    ready_ms = (time.perf_counter() - ready) * 1000
    rows_before = await count(tables)
    tidying = asyncio.create_task(Housekeeping(relay, KEEP_HOURS).once())
    began = time.monotonic()
    during = await writes(tables, plan.rate, plan.seconds, until=tidying)
    spent = time.monotonic() - began
    finished = tidying.done()
    for task in (tidying, relaying):
        task.cancel()
    await asyncio.gather(tidying, relaying, return_exceptions=True)
    deleted = rows_before + 2 * during.count - await count(tables)
    return Soak(
        database=name,
        rows=plan.rows,
        payload=plan.payload,
        fill_seconds=filled,
        before=before,
        during=during,
        housekeeping_seconds=spent,
        finished=finished,
        deleted=deleted,
        ready_ms=ready_ms,
        load=os.getloadavg()[0],
    )


async def writes(
    tables: Tables, rate: float, seconds: float, until: asyncio.Task[None] | None = None
) -> Writes:
    """Write at a fixed rate, each as a consumer would: an event digested, one that follows."""
    took: list[float] = []
    running: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        async with tables.db.transaction() as tx:
            await tables.outbox.first_time(tx, READ, uuid7(), Place(0, len(took)))
            await tables.outbox.add_rendered(tx, [an_event()])
        took.append((time.perf_counter() - due) * 1000)

    start = time.perf_counter()
    for number in range(round(seconds * rate)):
        if until is not None and until.done():
            break
        due = start + number / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        task = asyncio.create_task(one(due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    took.sort()
    return Writes(len(took), took[len(took) // 2], took[int(len(took) * 0.99)], took[-1])


def an_event() -> Rendered:
    body = b'{"note": "as long as what is there"}'
    return Rendered(uuid7(), TOPIC, "acme/support-triage", "AdapterEvaluated", body, "{}")


async def count(tables: Tables) -> int:
    """Count the rows of both tables."""
    total = 0
    async with tables.db.read() as connection:
        for table in (tables.outbox.table, tables.outbox.inbox):
            counted = await connection.execute(select(func.count()).select_from(table))
            total += counted.scalar_one()
    return total

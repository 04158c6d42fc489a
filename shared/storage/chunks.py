"""Deletes many rows without standing in anybody's way: a few at a time, with rests between.

One DELETE of a million rows holds SQLite's only write lock for 5.4 s, and its locks on Postgres.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sqlalchemy import Column, ColumnElement, Table

from shared.storage.db import Database

FIRST_ROWS = 100
FEWEST_ROWS = 20
MOST_ROWS = 1000
# A chunk should hold its locks for this long: a write that meets it waits no longer.
HOLD_SECONDS = 0.005
# Rests for each second of work, so that deleting takes a ninth of the time at most.
RESTS = 8.0


async def delete_in_chunks(
    db: Database, table: Table, chosen: ColumnElement[bool], by: Column[Any]
) -> int:
    """Delete what is `chosen`, in the order of `by`; return how many rows that were.

    An index must begin with `by`, or with columns that `chosen` fixes, followed by it. Each chunk
    is a transaction of its own; its size follows from how long the last one took.
    """
    deleted = 0
    rows = FIRST_ROWS
    reached: Any = None
    while True:
        began = time.perf_counter()
        # Where the last chunk ended: Postgres would step over all it has deleted, each time.
        left = chosen if reached is None else chosen & (by >= reached)
        async with db.transaction(wake=False) as tx:
            locked = time.perf_counter()
            some = db.dialect.delete_first(table, left, by, rows).returning(by)
            gone = (await tx.execute(some)).scalars().all()
        held = time.perf_counter() - locked
        deleted += len(gone)
        if len(gone) < rows:
            return deleted
        reached = max(gone)
        rows = round(min(max(rows * HOLD_SECONDS / held, FEWEST_ROWS), MOST_ROWS))
        await db.dialect.settle_log(db.engine)
        await asyncio.sleep(RESTS * (time.perf_counter() - began))

"""How many bytes of events wait on disk for the event log: known without counting, so that each
request can ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import Table, func, select

from shared.errors import Retryable
from shared.storage import Database

# at most this often; a gigabyte of waiting events is a million rows, and reading their sizes takes
# 0.7 s
READ_SECONDS = 10.0
DEFAULT_MOST = 1024**3
UNSENT_BYTES = Gauge(
    "ratchet_outbox_unsent_bytes",
    "Bytes of events committed here and not yet acknowledged by the broker, about",
)


SETTING = "OUTBOX_BUDGET_BYTES"


class BacklogFull(Retryable):
    retry_after = 30

    def __init__(self, waiting: int, most: int) -> None:
        super().__init__(
            f"the event log does not take events: {waiting} bytes of them wait on disk, and the"
            f" budget is {most}. Nothing of this was stored. It is taken again when the event log"
            " is back: start it, release or drop what is parked (ratchet dlq parked), or raise"
            f" {SETTING}"
        )


class Backlog:
    """A running estimate, and how much there may be. What other replicas add and send is not seen,
    nor a transaction that is rolled back, so it is read anew from the database before anyone is
    refused for long.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.most = DEFAULT_MOST
        self.waiting = 0
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def added(self, events: Iterable[Any]) -> None:
        self._set(self.waiting + sum(size_of(event) for event in events))

    def sent(self, rows: Iterable[Any]) -> None:
        self._set(self.waiting - sum(size_of(row) for row in rows))

    def distrust(self) -> None:
        """Something changed that was not counted, as when a lost log is filled again."""
        self._read_at = float("-inf")

    async def check(self, db: Database) -> None:
        """Raise BacklogFull when there is no room. Reads the database after a restart, and now and
        then when half is used.
        """
        if self._read_at == float("-inf"):
            await self._read_once(db)
        elif self.waiting * 2 >= self.most and time.monotonic() - self._read_at > READ_SECONDS:
            self._start(db)
        if self.waiting >= self.most:
            raise BacklogFull(self.waiting, self.most)

    async def _read_once(self, db: Database) -> None:
        await asyncio.shield(self._start(db))

    def _start(self, db: Database) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(db))
            # who waits for it sees it
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._reading

    async def _read(self, db: Database) -> None:
        before = self.waiting
        table = self.table
        size = func.length(table.c.payload) + func.length(table.c.headers)
        async with db.read() as connection:
            found = (
                await connection.execute(
                    # Two parts, since each has an index of its own.
                    select(
                        select(func.coalesce(func.sum(size), 0))
                        .where(table.c.sent_at.is_(None), table.c.parked_at.is_(None))
                        .scalar_subquery()
                        + select(func.coalesce(func.sum(size), 0))
                        .where(table.c.parked_at.is_not(None))
                        .scalar_subquery()
                    )
                )
            ).scalar_one()
        self._read_at = time.monotonic()
        self._set(int(found) + self.waiting - before)  # and what came and went meanwhile

    def _set(self, waiting: int) -> None:
        self.waiting = max(0, waiting)
        UNSENT_BYTES.set(self.waiting)


def size_of(row: Any) -> int:
    """Return the bytes of an outbox row, or of an event on its way to be one."""
    return len(row.payload or b"") + len(row.headers)

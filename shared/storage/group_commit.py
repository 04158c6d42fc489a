"""One transaction for all who want to commit at the same moment: a commit costs a disk flush,
however much it holds.

While one flush is under way the next callers gather; each returns when the transaction that holds
its item is durable. Who need not wait for that (`commit_later`) is gathered for longer, and tried
again for as long as the database is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.describing import describe
from shared.errors import Retryable
from shared.storage.db import Database, DatabaseUnavailable
from shared.telemetry import COMMITS_LOST, log

Item = TypeVar("Item")
MAX_WEIGHT = 256
# How long an item that nobody waits for may stay in memory.
LATER_SECONDS = 0.05
RETRY_SECONDS = 0.5
# Of the end of a process: as long as a database may take to fail over in the middle of it.
FLUSH_SECONDS = 5.0
# Items that nobody waits for and that the database has not taken: beyond it no more are.
MOST_LATER = 10_000


class DatabaseBehind(Retryable):
    """Too much waits for the database already."""

    def __init__(self) -> None:
        super().__init__(
            f"{MOST_LATER} requests wait for the database, which does not take them: send this one"
            " again"
        )


class Waiting(NamedTuple, Generic[Item]):
    """An item, and what its caller waits for; None where nobody does."""

    item: Item
    done: asyncio.Future[None] | None


class GroupCommit(Generic[Item]):
    """`write(tx, items)` stores a batch; when a batch fails its items are tried alone, so that one
    bad item harms no other.

    A batch ends before the item that would make it weigh more than `most`.
    """

    def __init__(
        self,
        db: Database,
        write: Callable[[AsyncConnection, list[Item]], Awaitable[None]],
        weigh: Callable[[Item], int] = lambda _: 1,
        most: int = MAX_WEIGHT,
    ) -> None:
        self.db = db
        self.write = write
        self.weigh = weigh
        self.most = most
        self._waiting: list[Waiting[Item]] = []
        self._leader: asyncio.Task[None] | None = None
        # Somebody waits for what is in memory, or it is enough for a batch.
        self._hurry = asyncio.Event()

    async def commit(self, item: Item) -> None:
        """Returns when `item` is durable; raises what went wrong with it. Safe to cancel: it and
        the others still commit.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(item, done))
        self._hurry.set()
        self._lead_on()
        await done

    def commit_later(self, item: Item) -> None:
        """Make `item` durable within LATER_SECONDS, or when the database takes it again.

        It is lost if the process dies before that. Raises DatabaseBehind.
        """
        if len(self._waiting) >= MOST_LATER:
            raise DatabaseBehind
        self._waiting.append(Waiting(item, None))
        if len(self._waiting) >= self.most:
            self._hurry.set()
        self._lead_on()

    async def flush(self) -> None:
        """Return when all that waits is durable, or the database did not take it in time."""
        self._hurry.set()
        if self._leader:
            await asyncio.wait({self._leader}, timeout=FLUSH_SECONDS)
        if self._waiting:
            COMMITS_LOST.inc(len(self._waiting))
            log("storage").error("not stored before the end", items=len(self._waiting))

    def _lead_on(self) -> None:
        if self._leader is None or self._leader.done():
            self._leader = asyncio.create_task(self._lead())

    async def _lead(self) -> None:
        while self._waiting:
            await self._gather()
            batch = self._next()
            if len(self._waiting) < self.most and not any(one.done for one in self._waiting):
                self._hurry.clear()
            failure = await self._attempt(batch)
            if failure and len(batch) > 1 and not isinstance(failure, DatabaseUnavailable):
                for one in batch:
                    await self._settle([one], await self._attempt([one]))
            else:
                await self._settle(batch, failure)

    async def _gather(self) -> None:
        """Let items come until somebody waits for one, or LATER_SECONDS have passed."""
        if not self._hurry.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LATER_SECONDS):
                    await self._hurry.wait()

    def _next(self) -> list[Waiting[Item]]:
        """Take as many of the oldest as fit, and always one."""
        count = 1
        weight = self.weigh(self._waiting[0].item)
        for one in self._waiting[1:]:
            weight += self.weigh(one.item)
            if weight > self.most:
                break
            count += 1
        batch = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return batch

    async def _attempt(self, batch: list[Waiting[Item]]) -> Exception | None:
        try:
            async with self.db.transaction() as tx:
                await self.write(tx, [one.item for one in batch])
        # whatever it was belongs to the callers of this batch
        except Exception as error:  # noqa: BLE001
            return error
        return None

    async def _settle(self, batch: list[Waiting[Item]], failure: Exception | None) -> None:
        """Tell those who wait; what nobody waits for comes again while the database is away."""
        again = []
        for one in batch:
            if one.done is None:
                again.append(one)
            elif not one.done.done():
                one.done.set_exception(failure) if failure else one.done.set_result(None)
        if not failure or not again:
            return
        if isinstance(failure, DatabaseUnavailable):
            self._waiting = again + self._waiting
            await asyncio.sleep(RETRY_SECONDS)
            return
        COMMITS_LOST.inc(len(again))
        log("storage").error("an item was refused for good", error=describe(failure))

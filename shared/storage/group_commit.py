"""One transaction for all who want to commit at the same moment: a commit costs a disk flush,
however much it holds.

While one flush is under way the next callers gather; each returns when the transaction that holds
its item is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.storage.db import Database

Item = TypeVar("Item")
MAX_WEIGHT = 256


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
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._leader: asyncio.Task[None] | None = None

    async def commit(self, item: Item) -> None:
        """Returns when `item` is durable; raises what went wrong with it. Safe to cancel: the
        others still commit.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._leader is None or self._leader.done():
            self._leader = asyncio.create_task(self._lead())
        await done

    async def _lead(self) -> None:
        while self._waiting:
            batch = self._next()
            failure = await self._attempt(batch)
            if failure and len(batch) > 1:
                for one in batch:
                    _settle([one], await self._attempt([one]))
            else:
                _settle(batch, failure)

    def _next(self) -> list[tuple[Item, asyncio.Future[None]]]:
        """Take as many of the oldest as fit, and always one."""
        count = 1
        weight = self.weigh(self._waiting[0][0])
        for item, _ in self._waiting[1:]:
            weight += self.weigh(item)
            if weight > self.most:
                break
            count += 1
        batch = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return batch

    async def _attempt(self, batch: list[tuple[Item, asyncio.Future[None]]]) -> Exception | None:
        try:
            async with self.db.transaction() as tx:
                await self.write(tx, [item for item, _ in batch])
        # whatever it was belongs to the callers of this batch
        except Exception as error:  # noqa: BLE001
            return error
        return None


def _settle(batch: list[tuple[Item, asyncio.Future[None]]], failure: Exception | None) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(failure) if failure else done.set_result(None)

"""What review needs from outside: a store of items, and the content that was too large for an
event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from services.review.items import Arrival, Asked, Card, Item
from services.review.sampling import Decision
from shared.http.auth import Principal


class Arrivals(Protocol):
    """Where events about one inference meet. `meet` locks the row, so that two of them never miss
    each other.
    """

    async def meet(
        self, tx: AsyncConnection, tenant: str, route: str, inference_id: str, coin: float
    ) -> Arrival: ...
    async def record(
        self, tx: AsyncConnection, item_id: str, route: str, asked: Asked, unsure: bool
    ) -> None: ...
    async def mark(self, tx: AsyncConnection, item_id: str, **facts: Any) -> None: ...
    async def place(self, tx: AsyncConnection, arrival: Arrival, decision: Decision) -> None: ...
    async def unrouted(self, tx: AsyncConnection, route: str) -> Sequence[Arrival]: ...
    async def open_batch(
        self, tx: AsyncConnection, route: str, drift_id: str, size: int
    ) -> None: ...
    async def take_from_batch(self, tx: AsyncConnection, route: str) -> bool: ...


class Queue(Protocol):
    """The open items of a tenant; another tenant's ids are not found."""

    async def claim(
        self, tx: AsyncConnection, who: Principal, route: str | None
    ) -> Card | None: ...
    async def held(self, tx: AsyncConnection, who: Principal, route: str | None) -> Card | None: ...
    async def find(self, tx: AsyncConnection, tenant: str, item_id: str) -> Card: ...
    async def lock(self, tx: AsyncConnection, tenant: str, item_id: str) -> Card: ...
    async def finish(self, tx: AsyncConnection, done: Item) -> None: ...
    async def release(self, tx: AsyncConnection, item_id: str) -> None: ...
    async def waiting(
        self, tx: AsyncConnection, tenant: str, route: str | None, limit: int, offset: int
    ) -> list[Item]: ...
    async def finished(
        self, tx: AsyncConnection, tenant: str, reviewer: str, limit: int, offset: int
    ) -> list[Item]: ...


@dataclass(frozen=True)
class Counts:
    """Open items per (route, reason); verdicts since midnight UTC per reviewer; the median of the
    last 1,000 times.
    """

    open_by_route: dict[str, int]
    open_by_reason: dict[str, int]
    done_today_by_reviewer: dict[str, int]
    done_today_by_route: dict[str, int]
    p50_seconds: float | None


class Statistics(Protocol):
    async def open_count(self, tx: AsyncConnection, tenant: str, route: str | None) -> int: ...
    async def takeable_count(
        self, tx: AsyncConnection, who: Principal, route: str | None
    ) -> int: ...
    async def done_since(
        self, tx: AsyncConnection, tenant: str, reviewer: str, since: float
    ) -> int: ...
    async def counts(self, tx: AsyncConnection, tenant: str) -> Counts: ...


class Contents(Protocol):
    async def complete(self, asked: Asked) -> Asked:
        """With messages and answer, wherever they are kept."""
        ...


class Secrets(Protocol):
    async def session_secret(self) -> str:
        """The same for every process of this service, and after a restart."""
        ...

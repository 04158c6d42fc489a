"""What the trainer needs from outside its own code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import AdapterTrained
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult

Progress = Callable[[TrainingProgress], Awaitable[None]]


class Executor(Protocol):
    """Runs one training order somewhere: a child process here, a Kubernetes Job or Ray elsewhere.

    Raises shared.jobs.child.ChildDied when it was killed (worth another attempt), JobFailed when
    trying again cannot help.
    """

    async def train(self, order: TrainingOrder, progress: Progress) -> TrainingResult: ...


class Adapters(Protocol):
    """What was trained: immutable."""

    async def add(self, tx: AsyncConnection, event: AdapterTrained) -> None: ...
    async def get(self, tx: AsyncConnection, tenant: str, adapter_id: str) -> AdapterTrained: ...
    async def page(
        self, tx: AsyncConnection, tenant: str, route: str | None, limit: int, offset: int
    ) -> list[AdapterTrained]: ...

"""What the handlers, the worker and the API ask of the database, and the order a build job
carries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import (
    DatasetBuilt,
    DriftDetected,
    FeedbackRecorded,
    ReviewCompleted,
    RouteChanged,
)
from schemas.route import RouteSpec
from services.dataset_builder.rows import Item, Row


class Order(BaseModel):
    """A build as it was decided: number, specification and parent are fixed, so that every attempt
    gives the same bytes.
    """

    model_config = ConfigDict(frozen=True)
    route: str
    build: int
    because: str
    spec: RouteSpec
    parent: str | None = None
    drift_id: str | None = None


class Ledger(Protocol):
    async def add_verdict(self, tx: AsyncConnection, event: ReviewCompleted) -> None: ...
    async def add_feedback(self, tx: AsyncConnection, event: FeedbackRecorded) -> None: ...
    async def add_drift(self, tx: AsyncConnection, event: DriftDetected) -> None: ...
    async def change_route(self, tx: AsyncConnection, event: RouteChanged) -> None: ...
    async def command(self, tx: AsyncConnection, route: str, because: str) -> int: ...
    async def verdicts(self, route: str, build: int) -> tuple[list[Row], int]: ...
    async def manifest(self, dataset_id: str) -> dict[str, Any]: ...
    async def built(
        self, tx: AsyncConnection, order: Order, event: DatasetBuilt, manifest: str
    ) -> None: ...
    async def refused(
        self, tx: AsyncConnection, order: Order, name: str, reason: str, missing: int
    ) -> None: ...
    async def reopen(self, tx: AsyncConnection, order: Order) -> None: ...


class FolderWriter(Protocol):
    """Writes the files of a dataset, manifest last, and returns the manifest."""

    def __call__(
        self, folder: Path, parts: dict[str, list[Item]], facts: dict[str, Any]
    ) -> dict[str, Any]: ...

"""What the evaluator needs of the world outside, and how that world may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import BlobRef, Confidence, Message
from schemas.events import (
    AdapterEvaluated,
    CalibrationFitted,
    DriftDetected,
    FeedbackRecorded,
    ReviewCompleted,
    RouteChanged,
)
from services.evaluator.monitor import Monitor
from services.evaluator.observed import Observation
from shared.errors import Retryable
from shared.jobs.worker import JobFailed


@dataclass(frozen=True)
class Reply:
    """One answer at temperature 0. `logprob` is the sum over the answer's tokens."""

    answer: str
    confidence: Confidence
    logprob: float
    latency_ms: float


@runtime_checkable
class Generator(Protocol):
    """The engine that answers as the serving one would. `model` is `base` or the id of a loaded
    adapter.
    """

    async def load(self, adapter_id: str, folder: Path) -> None: ...
    async def unload(self, adapter_id: str) -> None: ...
    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, choices: Sequence[str] = ()
    ) -> Reply:
        """`choices`: the only answers allowed, by constrained decoding; empty allows any."""
        ...


@runtime_checkable
class Evaluations(Protocol):
    """Verdicts, with the calibrations that were published beside them."""

    async def add(
        self, tx: AsyncConnection, event: AdapterEvaluated, calibrations: list[CalibrationFitted]
    ) -> None: ...
    async def page(
        self,
        tx: AsyncConnection,
        tenant: str,
        adapter_id: str | None,
        route: str | None,
        limit: int,
        offset: int,
    ) -> list[dict[str, Any]]: ...
    async def get(self, tx: AsyncConnection, tenant: str, evaluation_id: str) -> dict[str, Any]: ...


@runtime_checkable
class Streams(Protocol):
    """What is kept of inferences, verdicts and feedback. A row has the fields of what was added,
    and `seq`.
    """

    async def add_observation(self, tx: AsyncConnection, seen: Observation) -> None: ...
    async def add_review(self, tx: AsyncConnection, event: ReviewCompleted) -> bool: ...
    async def add_feedback(self, tx: AsyncConnection, event: FeedbackRecorded) -> None: ...
    async def after(
        self, tx: AsyncConnection, route: str, adapter_id: str, seq: int, limit: int
    ) -> list[Any]: ...
    async def newest(self, tx: AsyncConnection, route: str) -> int: ...
    async def forget(
        self, tx: AsyncConnection, route: str, adapter_id: str, after: int, up_to: int
    ) -> None: ...
    async def forget_other_adapters(
        self, tx: AsyncConnection, route: str, adapter_id: str
    ) -> None: ...
    async def audited(
        self, tx: AsyncConnection, route: str, adapter_id: str, limit: int = 2000
    ) -> list[Any]: ...


@runtime_checkable
class Monitors(Protocol):
    """The monitors of each route, and the alarms they raised. `get` locks the row where the
    database can.
    """

    async def get(self, tx: AsyncConnection, route: str) -> Monitor | None: ...
    async def all(self, connection: AsyncConnection) -> list[Monitor]: ...
    async def follow(self, tx: AsyncConnection, state: RouteChanged) -> None: ...
    async def count(self, tx: AsyncConnection, event: ReviewCompleted) -> None: ...
    async def save(self, tx: AsyncConnection, monitor: Monitor) -> None: ...
    async def raise_alarm(self, tx: AsyncConnection, event: DriftDetected) -> None: ...
    async def alarms_of(
        self, connection: AsyncConnection, tenant: str, route: str | None, limit: int, offset: int
    ) -> list[dict[str, Any]]: ...
    async def alarm(
        self, connection: AsyncConnection, tenant: str, drift_id: str
    ) -> dict[str, Any]: ...


@runtime_checkable
class Reports(Protocol):
    """HTML for people. None when it could not be made, which never holds up an event."""

    async def evaluation(self, content: dict[str, Any]) -> BlobRef | None: ...
    async def drift(self, content: dict[str, Any]) -> BlobRef | None: ...


@runtime_checkable
class Transcripts(Protocol):
    """What the arms have answered in one life of a job so far, by (model, row id)."""

    def read(self, name: str) -> dict[tuple[str, str], Reply]: ...
    def add(self, name: str, token: int, model: str, row_id: str, reply: Reply) -> None: ...
    def drop(self, name: str) -> None: ...
    def names(self) -> set[str]: ...


class EngineAway(Retryable):
    """The evaluation waits for it, however long that takes."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"the evaluation vLLM at {url} does not answer ({why}); start it or set"
            " EVALUATOR_VLLM_URL; this job tries again"
        )


class AdapterUnfit(JobFailed):
    """The engine refuses the adapter, however often one tries."""

    def __init__(self, adapter_id: str, why: str) -> None:
        super().__init__(f"{adapter_id} cannot be served: {why}")

"""What the router needs of the world outside, and how that world may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from schemas.base import AdapterRef, Confidence, Message
from schemas.events import InferenceRecorded, ReviewRequested
from shared.errors import Invalid, RatchetError, Retryable


@dataclass(frozen=True)
class Reply:
    """One completion, as the upstream gave it."""

    answer: str
    confidence: Confidence
    finish_reason: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@runtime_checkable
class Upstream(Protocol):
    """vLLM: it answers, and it loads adapters while it runs."""

    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, choices: Sequence[str] = ()
    ) -> Reply:
        """`choices`: the only answers allowed, by constrained decoding; empty allows any."""
        ...

    async def models(self) -> frozenset[str]: ...
    async def load(self, adapter_id: str, folder: Path) -> None: ...
    async def unload(self, adapter_id: str) -> None: ...
    async def close(self) -> None: ...


@runtime_checkable
class Shelf(Protocol):
    """Adapters as folders on this machine, complete and checked."""

    async def fetch(self, adapter: AdapterRef) -> Path: ...


@dataclass(frozen=True)
class Decision:
    """All that is stored of one request. `picked` is the adapter the request was given to;
    `failed`, that it did not do.
    """

    inference: InferenceRecorded
    review: ReviewRequested | None
    picked: str | None
    failed: bool


@runtime_checkable
class Recorder(Protocol):
    """Returns when the decision and its events are durable."""

    async def record(self, decision: Decision) -> None: ...


class UpstreamAway(Retryable):
    """Nobody answered: not a fault of any model."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"the model server does not answer ({type(cause).__name__}); it may be starting: send"
            " the request again"
        )


class UpstreamFailed(Retryable):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(
            f"the model server failed with {status}: {detail[:300]}; send the request again"
        )


class ModelMissing(RatchetError):
    """The server does not hold that model (any more): it restarted, or the adapter was never
    loaded.
    """

    status = 503
    retry_after = 2

    def __init__(self, model: str) -> None:
        super().__init__(
            f"the model server does not serve '{model}' now; it is being loaded: send the request"
            " again"
        )


class UpstreamRefused(Invalid):
    """The request itself is at fault, for example too long for the model."""

    status = 400

    def __init__(self, detail: str) -> None:
        super().__init__(f"the model refused the request: {detail[:500]}")


class AdapterUnfit(RatchetError):
    """The adapter cannot be served, however often one tries."""

    def __init__(self, adapter_id: str, why: str) -> None:
        super().__init__(f"{adapter_id} cannot be served: {why}")

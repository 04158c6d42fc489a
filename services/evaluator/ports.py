"""What the evaluator needs of the world outside, and how that world may fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from schemas.base import BlobRef, Confidence, JsonObject, Message
from shared.errors import JobFailed, Retryable
from shared.rules import ANYTHING, Completion, Form, Grammar

# What stands for an answer that did not come.
SILENCE = Completion(
    answer="",
    confidence=Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0),
    logprob=0.0,
)


class Generator(Protocol):
    """The engine that answers as the serving one would.

    `model` is `base` or the id of a loaded adapter.
    """

    grammar: Grammar

    async def load(self, adapter_id: str, folder: Path) -> None: ...
    async def unload(self, adapter_id: str) -> None: ...
    async def see(self) -> None:
        """Note which release answers."""
        ...

    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, form: Form = ANYTHING
    ) -> Completion:
        """Ask for one answer, held to a form as far as the engine can."""
        ...


class Judge(Protocol):
    """A model that compares two answers."""

    name: str

    async def say(self, messages: Sequence[Message], max_tokens: int) -> str:
        """Return what it answers. Raises JudgeAway."""
        ...


class Reports(Protocol):
    """Makes HTML for people. None when it could not be made, which never holds up an event."""

    async def evaluation(self, content: JsonObject) -> BlobRef | None: ...
    async def drift(self, content: JsonObject) -> BlobRef | None: ...


class EngineAway(Retryable):
    """The evaluation waits for it, however long that takes."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"the evaluation vLLM at {url} does not answer ({why}); start it or set"
            " EVALUATOR_VLLM_URL; this job tries again"
        )


class NoAnswer(EngineAway):
    """The engine was asked, and gave no answer: it may be the fault of the model it was asked."""


class JudgeAway(Retryable):
    """It decides nothing, so nothing waits for it."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"the judge model at {url} does not answer ({why}); look at EVALUATOR_JUDGE_URL, _MODEL"
            " and _API_KEY: people are asked all the same"
        )


class AdapterUnfit(JobFailed):
    """The engine refuses the adapter, or it does not answer, however often one tries."""

    def __init__(self, adapter_id: str, why: str) -> None:
        super().__init__(f"{adapter_id} cannot be served: {why}")

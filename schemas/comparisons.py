"""Two answers to one question, and which is better: what decides about adapters for free text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import BlobRef, Event, Message

Judgement = Literal["left", "right", "tie", "neither"]


class ComparisonRequested(Event):
    """Somebody should say which of two answers is better. Said by the evaluator, which alone knows
    who gave them: a coin chose the sides.
    """

    comparison_id: str = Field(min_length=1, max_length=64)
    evaluation_id: str
    messages: tuple[Message, ...] = Field(
        description="the question, redacted; empty when `content` refers to it"
    )
    left: str
    right: str
    content: BlobRef | None = Field(
        default=None,
        description="messages, left and right when they exceed 256 KiB; all three are empty then",
    )


class AnswersCompared(Event):
    """Two answers were compared, by somebody who did not know whose they are. Said by review, and
    by the evaluator of what its judge model found.
    """

    comparison_id: str
    evaluation_id: str
    judgement: Judgement = Field(description="neither: both are of no use")
    judge: Literal["person", "model"]
    by: str = Field(description="the reviewer, or the name of the judge model")
    seconds: float | None = Field(default=None, ge=0, description="the reviewer had them open")


COMPARISONS: tuple[type[Event], ...] = (ComparisonRequested, AnswersCompared)

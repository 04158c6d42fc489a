"""What an evaluation found: how the arms did, and by what an adapter is known again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Arm, Message, Value, is_none


class ArmResult(Value):
    """How one arm did on the held-out rows."""

    arm: Arm
    adapter_id: str | None = None
    n: int
    accuracy: float = Field(description="0 of free text, of which no two answers are the same")
    macro_f1: float | None = Field(
        default=None, description="of records the F1 over fields, of texts the mean ROUGE-L"
    )
    chrf: float | None = Field(default=None, exclude_if=is_none, description="mean, of free text")
    format_compliance: float
    latency_p50_ms: float
    latency_p95_ms: float
    strata: dict[str, float] = Field(
        default={},
        description="accuracy on questions that are also trained on (repeated), that are not"
        " (first_seen), and that were kept out by hash (held_out)",
    )


class PairedTest(Value):
    """Challenger against another arm on the same rows: one-sided mid-p McNemar (docs/methods.md,
    section 6), or what people said of pairs of free texts (section 9).
    """

    against: Arm
    wins: int
    losses: int
    p_value: float = Field(description="of free text one over the evidence, 1 at most")
    alpha: float
    passed: bool
    ties: int | None = Field(
        default=None, exclude_if=is_none, description="pairs of free texts that are as good"
    )
    neither: int | None = Field(
        default=None, exclude_if=is_none, description="pairs of free texts that are both of no use"
    )


class GroupTest(Value):
    """Challenger against what it would replace, on the held-out rows of one label or slice
    (docs/methods.md, section 6).
    """

    kind: Literal["label", "slice"]
    name: str = Field(description="the label, or key=value")
    n: int
    wins: int
    losses: int
    most_loss: float = Field(
        description="the loss of accuracy on these rows that is ruled out at 95 %"
    )
    finding: Literal["kept", "harmed", "untested"] = Field(
        description="proven to lose less than 10 points, proven to lose, or too few rows to tell"
    )


class Probe(Value):
    """A prompt with the evaluator's own reading of it: proves that a loaded adapter acts, and acts
    as evaluated.
    """

    messages: tuple[Message, ...]
    answer: str
    logprob: float = Field(description="sum over the answer's tokens, with the adapter")
    base_logprob: float | None = None
    base_answer: str | None = None

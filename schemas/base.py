"""What every event has in common, and the value objects several events share."""

from __future__ import annotations

import operator
import re
import secrets
import time
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

JsonObject = dict[str, Any]
"""A JSON object as `json.loads` returns it."""


def uuid7() -> str:
    """Make a time-ordered UUID (RFC 9562, version 7), so that primary keys stay nearly sorted."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def uuid7s(count: int) -> list[str]:
    """Make as many at once, in order among themselves.

    A counter stands in the twelve bits after the time (RFC 9562, 6.2, method 1).
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    noise = secrets.token_hex(8 * count)
    parts = [
        (
            number & 0xFFF,
            "89ab"[int(noise[16 * number], 16) & 3],
            noise[16 * number + 1 : 16 * number + 16],
        )
        for number in range(count)
    ]
    return [
        f"{moment[:8]}-{moment[8:]}-7{order:03x}-{variant}{tail[:3]}-{tail[3:]}"
        for order, variant, tail in parts
    ]


class Value(BaseModel):
    """A part of an event: immutable, and tolerant of fields a newer producer added."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Event(Value):
    """A fact, in the past tense. `event_id` makes every consumer idempotent; `tenant` comes from a
    credential.
    """

    VERSION: ClassVar[int] = 1

    event_id: str = Field(default_factory=uuid7, min_length=8, max_length=64)
    occurred_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    tenant: str = Field(min_length=1, max_length=64)
    route: str = Field(description="tenant/name", pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")

    @classmethod
    def topic_name(cls) -> str:
        """Return the topic's name, `dataset-built` for `DatasetBuilt`; a handler is named alike."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()
        return name if cls.VERSION == 1 else f"{name}-v{cls.VERSION}"

    @classmethod
    def schema_name(cls) -> str:
        return f"{re.sub(r'(?<!^)(?=[A-Z])', '-', cls.__name__).lower()}.v{cls.VERSION}"


class ToolCall(Value):
    """A function that a model called; `arguments` is JSON, as the app or the model wrote it."""

    id: str
    name: str
    arguments: str


# Whether a field holds nothing: most messages and answers have none of these. A function of our own
# would cost 0.2 us a field.
is_unset = operator.not_
is_none = partial(operator.is_, None)


Tools = Annotated[
    tuple[JsonObject, ...],
    Field(
        exclude_if=is_unset,
        description="functions the model could call, as OpenAI writes them, redacted; an answer"
        " that calls some is JSON: tool_calls, each with name and arguments, and maybe content",
    ),
]
Slices = Annotated[
    dict[str, str],
    Field(
        exclude_if=is_unset,
        description="values of metadata under the keys that the route's `slices` name, redacted",
    ),
]
SecondOf = Annotated[
    str | None,
    Field(
        exclude_if=is_none,
        description="review_id of the verdict that this one checks, by another person who did not"
        " know of it: it is no verdict of its own",
    ),
]


class Message(Value):
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = Field(
        default=(), exclude_if=is_unset, description="functions that an assistant called"
    )
    tool_call_id: str | None = Field(
        default=None, exclude_if=is_none, description="the call whose result a tool's message is"
    )
    name: str | None = Field(
        default=None, exclude_if=is_none, description="of the tool, where the app says it"
    )


class BlobRef(Value):
    """A reference to bytes that are never put on a topic: where they are, and what they must hash
    to.
    """

    uri: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class AdapterRef(Value):
    """An immutable adapter. `adapter_id` is `<route name>@<first 12 of sha256>`: the name vLLM
    serves it under.
    """

    adapter_id: str = Field(pattern=r"^[a-z0-9-]+--[a-z0-9-]+@[0-9a-f]{12}$")
    blob: BlobRef


class Confidence(Value):
    """How sure the served model was, from the tokens of its answer (docs/methods.md, section 1).

    `score` is exp(sum of token logprobs), of JSON over the tokens of its values alone; `p_correct`
    is the calibrated probability, absent while uncalibrated.
    """

    score: float = Field(ge=0, le=1)
    min_logprob: float = Field(le=0)
    first_margin: float = Field(ge=0)
    tokens: int = Field(ge=0)
    p_correct: float | None = Field(default=None, ge=0, le=1)
    threshold: float | None = Field(default=None, ge=0, le=1)
    calibration_id: str | None = None
    certified: bool | None = Field(
        default=None,
        exclude_if=is_none,
        description="whether the threshold is, as in CalibrationFitted; absent while uncalibrated",
    )
    features: dict[str, float] | None = Field(
        default=None,
        exclude_if=lambda features: features is None,
        description="what else the tokens tell, kept for better calibrations: of JSON `values`"
        " (how many), `weakest` (log-probability of one), `whole` (of the text); of free text"
        " `mean`, `q10`, `q50`, `entropy`, `entropy_max`, in nats a token",
    )


Arm = Literal["base", "champion", "challenger", "external"]


class Attempt(Value):
    """One model's answer to a request; a request has several when the router fell back or
    shadowed.
    """

    arm: Arm
    model: str
    adapter_id: str | None = None
    answer: str
    alternatives: tuple[str, ...] = Field(
        default=(), exclude_if=is_unset, description="the other answers that an app asked for (n)"
    )
    thought: str = Field(
        default="",
        exclude_if=is_unset,
        description="what the model thought before it answered; no part of the answer",
    )
    confidence: Confidence | None = None
    latency_ms: float = Field(ge=0)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

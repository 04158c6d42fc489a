"""What apps send: an inference of some other model, or feedback about any answer.

Unknown fields are refused: they are typos.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from shared.clock import now

MAX_MESSAGES = 500
# Parts of one message's content.
MAX_PARTS = 500
# Of one text; what is too large for an event goes by reference, and a body is bounded as a whole.
MAX_TEXT = 4 * 1024 * 1024
# Well beyond every shape: pydantic makes an error of each unknown field. Of wrong members of a list
# it would, too, 7.5 s of them in 4 MiB; so lists end at the first (`fail_fast`).
MAX_FIELDS = 32
# No model was asked before; and a date in the year 1 leaves the calendar in another time zone.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(minutes=10)
# OpenAI's newer and older names.
ROLES = {"developer": "system", "function": "tool"}


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains the NUL character; remove it")
    return text


def _text_of(content: object) -> object:
    """Join OpenAI's list of parts, when all are text.

    Null is what an assistant says beside tool calls.
    """
    if isinstance(content, list):
        if len(content) > MAX_PARTS:
            raise ValueError(f"more than {MAX_PARTS} parts; join them")
        if not all(
            isinstance(part, dict)
            and part.get("type") == "text"
            and isinstance(part.get("text"), str)
            for part in content
        ):
            raise ValueError("only parts of type 'text' can be captured")
        return "\n".join(part["text"] for part in content)
    return "" if content is None else content


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _past(at: AwareDatetime) -> AwareDatetime:
    if at > now() + CLOCK_SKEW:
        raise ValueError("lies in the future; check the clock of the sender")
    if at < EARLIEST:
        raise ValueError("lies before the year 2000; check the clock of the sender")
    return at


def is_swollen(item: object) -> bool:
    return isinstance(item, dict) and len(item) > MAX_FIELDS


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_no_nul)]
ModelName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_nul)]
Comment = Annotated[str, Field(min_length=1, max_length=16_384), AfterValidator(_no_nul)]
Correction = Annotated[str, Field(min_length=1, max_length=131_072), AfterValidator(_no_nul)]
Outcome = Annotated[str, Field(max_length=16_384), AfterValidator(_no_nul)]
MetadataName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
MetadataValue = Annotated[
    str, BeforeValidator(_as_text), Field(max_length=1024), AfterValidator(_no_nul)
]
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
RouteName = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9-]+/)?[a-z0-9-]+$", max_length=200, description="'name' or 'tenant/name'"
    ),
]
Occurred = Annotated[AwareDatetime, AfterValidator(_past)]
Tokens = Annotated[int, Field(ge=0, le=2**31 - 1)]
Metadata = Annotated[dict[MetadataName, MetadataValue], Field(max_length=32, fail_fast=True)]
Milliseconds = Annotated[float, Field(ge=0, le=1e10)]


class Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    client_id: Id | None = Field(
        default=None,
        description=(
            "your own id: sending it again changes nothing and answers the same inference_id"
        ),
    )
    occurred_at: Occurred | None = None


class SentMessage(BaseModel):
    # Names and tool calls are not kept.
    model_config = ConfigDict(extra="ignore", frozen=True)

    role: Annotated[
        Literal["system", "user", "assistant", "tool"],
        BeforeValidator(lambda role: ROLES.get(role, role) if isinstance(role, str) else role),
    ]
    content: Annotated[Text, BeforeValidator(_text_of)] = ""


class SentInference(Sent):
    """One question and its answer, as the app saw them."""

    route: RouteName
    messages: (
        Annotated[
            tuple[SentMessage, ...], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
        ]
        | None
    ) = None
    input: Text | None = Field(default=None, description="instead of messages: what the user said")
    answer: Text
    model: ModelName = "external"
    latency_ms: Milliseconds | None = None
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    metadata: Metadata = {}

    @model_validator(mode="after")
    def one_question(self) -> Self:
        if (self.messages is None) == (self.input is None):
            raise ValueError("send either 'messages' or 'input'")
        return self

    def conversation(self) -> list[tuple[str, str]]:
        """Return who said what, as pairs of role and content."""
        if self.messages is None:
            return [("user", self.input or "")]
        return [(message.role, message.content) for message in self.messages]


class SentFeedback(Sent):
    """What someone, or some system, thought of an answer: at least one of rating, comment,
    correction, outcome.
    """

    inference_id: Id
    route: RouteName | None = Field(
        default=None,
        description="needed for answers of the router, whose routes capture has not recorded",
    )
    rating: float | None = Field(
        default=None, description="true or 1 is good, false or 0 is bad; or a scale of your own"
    )
    comment: Comment | None = None
    correction: Correction | None = Field(
        default=None, description="what the answer should have been"
    )
    outcome: float | Outcome | None = Field(
        default=None, description="what came of it: a number, true, false, or a word"
    )

    @model_validator(mode="after")
    def says_something(self) -> Self:
        if not self.judgements():
            raise ValueError("send at least one of 'rating', 'comment', 'correction', 'outcome'")
        return self

    def judgements(self) -> dict[str, float | str]:
        """Return what was said, by the kind of feedback: each becomes an event."""
        given = {
            "rating": self.rating,
            "comment": self.comment,
            "correction": self.correction,
            "outcome": self.outcome,
        }
        return {kind: value for kind, value in given.items() if value is not None}


Shape = TypeVar("Shape", SentInference, SentFeedback)

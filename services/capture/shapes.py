"""What apps send: an inference of some other model, or feedback about any answer.

These shapes take what needs no closer look, thousands of items a second. What they refuse goes
through `mending`, which leaves out what is unusable and not the main fact.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from schemas.base import JsonObject
from services.capture.messages import SentMessage, Text
from shared.clock import now
from shared.http import MAX_METADATA, METADATA_CHARACTERS, METADATA_NAME, Storable

MAX_MESSAGES = 500
# Well beyond every shape: pydantic makes an error of each unknown field. Of wrong members of a list
# it would, too, 7.5 s of them in 4 MiB; so lists end at the first (`fail_fast`).
MAX_FIELDS = 32
# No model was asked before; and a date in the year 1 leaves the calendar in another time zone.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(minutes=10)


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is no finite number")
    return str(value) if isinstance(value, int | float) else value


def _id_as_text(value: object) -> object:
    """Let apps count: an id may be a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _past(at: AwareDatetime) -> AwareDatetime:
    if at > now() + CLOCK_SKEW:
        raise ValueError("lies in the future; check the clock of the sender")
    if at < EARLIEST:
        raise ValueError("lies before the year 2000; check the clock of the sender")
    return at


def is_swollen(item: object) -> bool:
    return isinstance(item, dict) and len(item) > MAX_FIELDS


ModelName = Annotated[str, Field(min_length=1, max_length=200), Storable]
Comment = Annotated[str, Field(min_length=1, max_length=16_384), Storable]
Correction = Annotated[str, Field(min_length=1, max_length=131_072), Storable]
Outcome = Annotated[str, Field(max_length=16_384), Storable]
MetadataName = Annotated[str, Field(min_length=1, max_length=64, pattern=METADATA_NAME)]
MetadataValue = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(max_length=METADATA_CHARACTERS),
    Storable,
]
Id = Annotated[
    str,
    Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$"),
    BeforeValidator(_id_as_text),
]
RouteName = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9-]+/)?[a-z0-9-]+$", max_length=200, description="'name' or 'tenant/name'"
    ),
]
Occurred = Annotated[AwareDatetime, AfterValidator(_past)]
Tokens = Annotated[int, Field(ge=0, le=2**31 - 1)]
Metadata = Annotated[
    dict[MetadataName, MetadataValue], Field(max_length=MAX_METADATA, fail_fast=True)
]
Milliseconds = Annotated[float, Field(ge=0, le=1e10)]
Bound = Annotated[float, Field(ge=-1e9, le=1e9)]


class Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # What an item does without, where it is unusable.
    SIDE: ClassVar[frozenset[str]]
    NAME: ClassVar[str]

    client_id: Id | None = Field(
        default=None,
        description=(
            "your own id: sending it again changes nothing and answers the same inference_id"
        ),
    )
    occurred_at: Occurred | None = None


class SentInference(Sent):
    """One question and its answer, as the app saw them."""

    SIDE = frozenset(
        {
            "occurred_at",
            "model",
            "latency_ms",
            "prompt_tokens",
            "completion_tokens",
            "metadata",
        }
    )
    NAME = "an inference"

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
    # `{}` would be copied for each item, which takes 2.5 us.
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def one_question(self) -> Self:
        if (self.messages is None) == (self.input is None):
            raise ValueError("send either 'messages' or 'input'")
        return self

    def conversation(self) -> list[tuple[str, str]]:
        """Return who said what, as pairs of role and text for people."""
        if self.messages is None:
            return [("user", self.input or "")]
        return [(message.role, message.shown()) for message in self.messages]

    def turns(self) -> list[JsonObject]:
        """Return who said what, as events hold it."""
        if self.messages is None:
            return [{"role": "user", "content": self.input or ""}]
        return [message.turn() for message in self.messages]


class Scale(BaseModel):
    """What a rating is counted in: `min` is the worst, `max` the best, also where that is less."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    min: Bound = 0.0
    max: Bound

    @model_validator(mode="before")
    @classmethod
    def from_its_best(cls, sent: object) -> object:
        """Take `5` for {"max": 5}, and `[1, 5]` for both."""
        if isinstance(sent, int | float) and not isinstance(sent, bool):
            return {"max": sent}
        if isinstance(sent, list | tuple) and len(sent) == 2:
            return {"min": sent[0], "max": sent[1]}
        return sent

    @model_validator(mode="after")
    def has_two_ends(self) -> Self:
        if self.min == self.max:
            raise ValueError("'min' and 'max' are the same")
        return self

    def value(self, rating: float) -> float:
        """Return a rating as everybody reads it: the good half is 0.5 to 1, the bad half below 0.

        Whoever looks for complaints looks for 0 and less (docs/app-developer.md): 1 and 2 of 5
        stars are some, 3 are none.
        """
        share = (rating - self.min) / (self.max - self.min)
        return share if share >= 0.5 else 2 * share - 1

    def holds(self, rating: float) -> bool:
        return min(self.min, self.max) <= rating <= max(self.min, self.max)


class SentFeedback(Sent):
    """What someone, or some system, thought of an answer: at least one of rating, comment,
    correction, outcome.
    """

    # All of them; one has to be left.
    SIDE = frozenset({"occurred_at", "rating", "scale", "comment", "correction", "outcome"})
    NAME = "feedback"

    inference_id: Id
    route: RouteName | None = Field(
        default=None,
        description="needed for answers of the router, whose routes capture has not recorded",
    )
    scale: Scale | None = Field(
        default=None, description='of the rating: {"min": 1, "max": 5}; min is 0 unless said'
    )
    rating: float | None = Field(
        default=None, description="true or 1 is good, false or 0 is bad; or on a `scale`"
    )
    comment: Comment | None = None
    correction: Correction | None = Field(
        default=None, description="what the answer should have been"
    )
    outcome: float | Outcome | None = Field(
        default=None, description="what came of it: a number, true, false, or a word"
    )

    @field_validator("rating", mode="before")
    @classmethod
    def said_in_a_word(cls, rating: object, info: ValidationInfo) -> object:
        """Take true for the best of a scale and false for the worst."""
        scale: Scale | None = info.data.get("scale")
        if scale and isinstance(rating, bool):
            return scale.max if rating else scale.min
        return rating

    @field_validator("rating")
    @classmethod
    def on_its_scale(cls, rating: float | None, info: ValidationInfo) -> float | None:
        scale: Scale | None = info.data.get("scale")
        if scale and rating is not None and not scale.holds(rating):
            raise ValueError("is not on its scale")
        return rating

    @model_validator(mode="after")
    def says_something(self) -> Self:
        if not self.judgements():
            raise ValueError("send at least one of 'rating', 'comment', 'correction', 'outcome'")
        return self

    def value(self) -> float | None:
        """Return the rating as everybody reads it."""
        if self.rating is None or self.scale is None:
            return self.rating
        return self.scale.value(self.rating)

    def judgements(self) -> dict[str, float | str]:
        """Return what was said, by the kind of feedback: each becomes an event."""
        given = {
            "rating": self.value(),
            "comment": self.comment,
            "correction": self.correction,
            "outcome": self.outcome,
        }
        return {kind: value for kind, value in given.items() if value is not None}


Shape = TypeVar("Shape", SentInference, SentFeedback)

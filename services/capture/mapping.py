"""Where the fields of an app's records stand: the YAML that an operator writes for its topic.

The tenant, the route and the application are the mapping's; nothing in a record can change them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.base import JsonObject
from schemas.topics import is_ours
from services.capture.dialects import unpacked
from services.capture.mending import explain
from services.capture.shapes import SentFeedback, SentInference
from shared.errors import Invalid

MOST_MAPPING_BYTES = 256 * 1024
# What is the mapping's to say, and of what the record's id is made.
FIXED = {"route", "client_id"}
SHAPES: dict[str, type[SentInference | SentFeedback]] = {
    "inferences": SentInference,
    "feedback": SentFeedback,
}
NOTHING = object()
Place = tuple[str, ...]
"""Where something stands: the tokens of a pointer."""

Pointer = Annotated[str, Field(max_length=500, pattern=r"^(/([^~/]|~[01])*)+$")]
"""A JSON pointer (RFC 6901): `/response/choices/0/message/content`."""


class MappingRefused(Invalid):
    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file} is no mapping of an app's topic: {why}")


class TopicTwice(Invalid):
    def __init__(self, topic: str) -> None:
        super().__init__(
            f"two mappings read the topic '{topic}': a record is one thing; keep one of them"
        )


class Mapping(BaseModel):
    """One topic of an app: what its records are, whose, and where their fields stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str = Field(max_length=80, pattern=r"^[a-zA-Z0-9._-]+$")
    route: str = Field(pattern=r"^[a-z0-9-]{1,64}/[a-z0-9-]{1,64}$", description="tenant/name")
    records: Literal["inferences", "feedback"] = "inferences"
    application: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="whose ids they are; the topic's name unless the app's key has a name, too",
    )
    id: Pointer | None = Field(
        default=None, description="the app's own id; without it the place in the topic is the id"
    )
    fields: dict[str, Pointer | dict[str, Pointer]] = Field(min_length=1, max_length=32)
    values: JsonObject = Field(
        default={}, max_length=32, description="fields that are the same for all records"
    )

    @model_validator(mode="after")
    def names_what_there_is(self) -> Self:
        if is_ours(self.topic):
            raise ValueError(f"'{self.topic}' is a topic of Ratchet itself")
        known = SHAPES[self.records].model_fields.keys() - FIXED
        for name in (*self.fields, *self.values):
            if name not in known:
                raise ValueError(
                    f"there is no field '{name[:40]}': choose from {', '.join(sorted(known))}"
                )
        if both := sorted(self.fields.keys() & self.values.keys()):
            raise ValueError(f"'{both[0]}' is in 'fields' and in 'values': which is it")
        for name, where in self.fields.items():
            if isinstance(where, dict) and name not in ("metadata", "scale"):
                raise ValueError(f"'{name}' has one place: a JSON pointer")
        return self

    @model_validator(mode="after")
    def has_the_main_facts(self) -> Self:
        given = self.fields.keys()
        if self.records == "feedback":
            if "inference_id" not in given:
                raise ValueError("feedback needs 'inference_id'")
        elif "answer" not in given or len({"input", "messages"} & given) != 1:
            raise ValueError("an inference needs 'answer', and either 'messages' or 'input'")
        return self

    @property
    def tenant(self) -> str:
        return self.route.partition("/")[0]

    @property
    def version(self) -> str:
        """Return a digest of all it says: another one may read what this one could not."""
        said = json.dumps(self.model_dump(), sort_keys=True)
        return f"mapping {hashlib.sha256(said.encode()).hexdigest()[:8]}"

    def item(self, record: object) -> JsonObject:
        """Return the item that a record says; what stands nowhere in it is left out."""
        item: JsonObject = {"route": self.route, **self.values}
        for name, where in self._places.items():
            if isinstance(where, dict):
                found = {key: at(record, place) for key, place in where.items()}
                item[name] = {key: one for key, one in found.items() if one is not NOTHING}
            elif (one := at(record, where)) is not NOTHING:
                item[name] = one
        return item

    def id_in(self, record: object) -> object:
        """Return the app's own id of a record, or None where it has none."""
        found = at(record, self._id_place) if self._id_place else None
        return None if found is NOTHING else found

    @cached_property
    def _places(self) -> dict[str, Place | dict[str, Place]]:
        return {
            name: tokens_of(where)
            if isinstance(where, str)
            else {key: tokens_of(pointer) for key, pointer in where.items()}
            for name, where in self.fields.items()
        }

    @cached_property
    def _id_place(self) -> Place | None:
        return tokens_of(self.id) if self.id else None


def at(document: object, place: Place) -> Any:
    """Return what stands at the tokens of a JSON pointer, or NOTHING.

    It leads into a text that holds JSON, too: Debezium's outbox has its payload so.
    """
    found = document
    for token in place:
        # Mostly; it is asked for each field of each record.
        found = found.get(token, NOTHING) if isinstance(found, dict) else inside(found, token)
    return found


def inside(found: object, token: str) -> object:
    """Return what stands under a token in a list, or in what a text holds as JSON."""
    found = unpacked(found)
    if isinstance(found, dict):
        return found.get(token, NOTHING)
    if isinstance(found, list) and token.isascii() and token.isdigit() and int(token) < len(found):
        return found[int(token)]
    return NOTHING


def tokens_of(pointer: str) -> Place:
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def load_mappings(place: Path) -> list[Mapping]:
    """Read a file, or all of a folder: one mapping each, or several as documents of one file.

    Raises MappingRefused and TopicTwice.
    """
    if not place.exists():
        raise MappingRefused(place, "it does not exist")
    files = sorted([*place.glob("*.yaml"), *place.glob("*.yml")]) if place.is_dir() else [place]
    found = [mapping for file in files for mapping in read_mappings(file)]
    refuse_repeated(found)
    return found


def read_mappings(file: Path) -> list[Mapping]:
    try:
        if file.stat().st_size > MOST_MAPPING_BYTES:
            raise MappingRefused(file, f"it has more than {MOST_MAPPING_BYTES} bytes")
        documents = [one for one in yaml.safe_load_all(file.read_text("utf-8")) if one is not None]
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise MappingRefused(file, type(error).__name__) from error
    except yaml.YAMLError as error:
        raise MappingRefused(file, f"it is not valid YAML ({str(error)[:200]})") from error
    if not documents:
        raise MappingRefused(file, "it is empty")
    try:
        return [Mapping.model_validate(document) for document in documents]
    except ValidationError as error:
        raise MappingRefused(file, explain(error)) from error


def refuse_repeated(mappings: Sequence[Mapping]) -> None:
    topics = [mapping.topic for mapping in mappings]
    for topic in topics:
        if topics.count(topic) > 1:
            raise TopicTwice(topic)

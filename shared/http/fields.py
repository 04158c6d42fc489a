"""What every body of a request has in common, and the fields that many have.

An event may have 1,000,000 bytes, PostgreSQL takes no NUL in a text, and half a surrogate pair can
be encoded by nobody: what could break any of these is refused here, in words, and not by what
stands behind.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from fastapi import Query
from fastapi.params import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_json

DEEPEST = 32
MOST_VALUES = 20_000
# Half a million messages are 16 MiB of nothing else; a thousand items have some thousands.
MOST_BRACKETS = 100_000
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
# Ids, names and reasons: whatever an id looks like, it is one that can be stored and printed.
ID_CHARACTERS = 200
REASON_CHARACTERS = 300

Id = Annotated[str, Path(max_length=ID_CHARACTERS)]
"""An id in a path."""
Wanted = Annotated[str | None, Query(max_length=ID_CHARACTERS)]
"""What a list is narrowed to, in a query."""


class RequestBody(BaseModel):
    """A body as somebody sends it: unknown fields are typos, and every text can be stored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def can_be_stored(cls, sent: Any) -> Any:
        """Refuse what no database or event can hold, wherever it stands."""
        check_values(sent)
        return sent


def check_values(sent: object) -> None:
    """Raise ValueError for a NUL, half a surrogate pair or a number that is none; for too much."""
    layer = [sent]
    seen = 0
    for _ in range(DEEPEST):
        seen += len(layer)
        if seen > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values; send less")
        below: list[object] = []
        for value in layer:
            if isinstance(value, str):
                check_text(value)
            elif isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                below += value
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is NaN or infinite; send a finite one or null")
        if not below:
            return
        layer = below
    raise ValueError(f"nested more than {DEEPEST} levels deep; send less")


def check_text(text: str) -> str:
    """Raise ValueError for a text that PostgreSQL, or UTF-8, cannot hold."""
    if "\0" in text:
        raise ValueError("contains the NUL character; remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("contains half of a surrogate pair; send valid Unicode") from None
    return text


def is_too_dense(body: bytes) -> bool:
    """Say whether JSON has more lists and objects than any request: 16 MiB of `[],`, which gzip
    packs into 16 KB, took 1.2 s to read. Brackets in texts do not count.
    """
    if len(body) <= MOST_BRACKETS or body.count(b"[") + body.count(b"{") <= MOST_BRACKETS:
        return False
    bare = STRINGS.sub(b"", body)
    return bare.count(b"[") + bare.count(b"{") > MOST_BRACKETS


Reason = Annotated[
    str,
    Field(min_length=1, max_length=REASON_CHARACTERS, description="kept beside who asked"),
]
Storable = AfterValidator(check_text)
"""For a text that is no part of a `RequestBody`: of a form, say."""


def encoded_size(value: object) -> int:
    """Return how many bytes a value takes in an event's JSON, escapes included."""
    return len(to_json(value))

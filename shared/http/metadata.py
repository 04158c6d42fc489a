"""What an app says beside its question, kept as names with texts: one reader for every door."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from shared.http.fields import check_text

MAX_METADATA = 32
# Entries that are looked at; a receipt is no copy of the request.
MOST_LOOKED_AT = 64
METADATA_NAME = r"^[^\x00-\x1f\x7f]{1,64}$"
NAME_CHARACTERS = 64
METADATA_CHARACTERS = 1024


class Metadata(NamedTuple):
    kept: dict[str, str]
    # Names that may stand in an answer, each with what was left out or changed, and why.
    left_out: tuple[tuple[str, str], ...]
    # Entries beyond those that were looked at.
    more: int


def read_metadata(given: Mapping[str, object]) -> Metadata:
    """Keep what is a name with a text; other values as the JSON that they are. Null is dropped."""
    kept: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    looked_at = 0
    for name, value in given.items():
        if len(kept) == MAX_METADATA or looked_at == MOST_LOOKED_AT:
            break
        looked_at += 1
        try:
            _check_name(name)
            kept[name], change = _text(value)
        except ValueError as error:
            change = str(error)
        if change:
            left_out.append((printable(name), change))
    return Metadata(kept, tuple(left_out), len(given) - looked_at)


def printable(name: object) -> str:
    """Return a name that a client chose as it may stand in an answer."""
    return str(name)[:NAME_CHARACTERS].encode("utf-8", "replace").decode()


def _check_name(name: str) -> None:
    if not re.fullmatch(METADATA_NAME, check_text(name)):
        raise ValueError("is no name: 1 to 64 characters, none of them a control character")


def _text(value: object) -> tuple[str, str | None]:
    """Return the text of a value and what was changed. Raises ValueError in words."""
    change = None
    if isinstance(value, bool):
        text = str(value).lower()
    elif value is None:
        raise ValueError("is null")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is no finite number")
    elif isinstance(value, str | int | float):
        text = _plain(value)
    else:
        text, change = _as_json(value), "is no text: kept as JSON"
    if len(text) > METADATA_CHARACTERS:
        raise ValueError(f"has {len(text)} characters; at most {METADATA_CHARACTERS} are kept")
    return check_text(text), change


def _plain(value: str | float) -> str:
    try:
        return str(value)
    except ValueError:
        raise ValueError("is a number of thousands of digits") from None


def _as_json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise ValueError("is nested too deeply, or holds a number that is none") from None

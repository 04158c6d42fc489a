"""How each kind of stored value is redacted: with the walks of the services that wrote it.

What cannot be read stays as it is, and is counted.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from infra.operations.redaction.contents import Contents
from schemas.base import JsonObject
from shared.privacy import redact_but_counted, redact_counted
from shared.rules import cleaned_answer, cleaned_record, cleaned_tools, cleaned_turn


class Unreadable(ValueError):
    """A stored value that is not what its column holds."""


class Cleaner:
    """Redacts one value after another; `finds` counts by kind since it was emptied.

    `chosen`: the kinds that each route does not redact. What was recorded of them are surrogates,
    or values that are to be learned.
    """

    def __init__(
        self, contents: Contents, chosen: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self.contents = contents
        self.chosen = chosen or {}
        self.left: frozenset[str] = frozenset()
        self.finds: Counter[str] = Counter()

    def of(self, route: object) -> None:
        """Leave what this route does not redact in what comes next; nothing where it is none."""
        self.left = frozenset(self.chosen.get(str(route), ()))

    def redact(self, text: str) -> str:
        kept, finds = redact_but_counted(text, self.left) if self.left else redact_counted(text)
        self.finds.update(finds)
        return kept


Walk = Callable[[Any, Cleaner], Any]
"""Returns a value redacted. Raises Unreadable."""


def text(value: str, cleaner: Cleaner) -> str:
    return cleaner.redact(value)


def answer(value: str, cleaner: Cleaner) -> str:
    return cleaned_answer(value, cleaner.redact)


def record(value: str, cleaner: Cleaner) -> str:
    """Redact a JSON object of strings, its names among them."""
    found = read_object(value)
    kept = cleaned_record(found, cleaner.redact)
    return value if kept == found else written(kept)


def turns(value: str, cleaner: Cleaner) -> str:
    """Redact a conversation, or the content that a reference stands for."""
    found = read_json(value)
    kept = _field("content" if isinstance(found, dict) else "messages", found, {}, cleaner)
    return value if kept == found else written(kept)


def event(value: bytes, cleaner: Cleaner) -> bytes:
    """Redact an event as it is sent, or whatever else has fields of these names."""
    found = read_object(value)
    if "route" in found:
        cleaner.of(found["route"])
    kept = cleaned_fields(found, cleaner)
    return value if kept == found else written(kept).encode()


def event_text(value: str, cleaner: Cleaner) -> str:
    return event(value.encode(), cleaner).decode()


def packed(value: bytes, cleaner: Cleaner) -> bytes:
    """Redact what review keeps of an exchange, or of two answers to compare."""
    try:
        found = zlib.decompress(value)
    except zlib.error as error:
        raise Unreadable from error
    kept = event(found, cleaner)
    return value if kept == found else zlib.compress(kept, 6)


def refusal(value: str, cleaner: Cleaner) -> str:
    """Redact why a build was refused, with what it shows of the verdicts that it left out."""
    found = read_object(value)
    try:
        clusters = _clusters(found.get("clusters", []), cleaner)
        kept = found | {"detail": text(found["detail"], cleaner), "clusters": clusters}
    except (AttributeError, KeyError, TypeError) as error:
        raise Unreadable from error
    return value if kept == found else written(kept)


def order(value: JsonObject, cleaner: Cleaner) -> JsonObject:
    """Redact the order of a job."""
    if not isinstance(value, dict):
        raise Unreadable
    return cleaned_fields(value, cleaner)


def cleaned_fields(found: JsonObject, cleaner: Cleaner) -> JsonObject:
    """Redact the fields that hold what people wrote; ids, times and numbers are left alone."""
    return {name: _field(name, value, found, cleaner) for name, value in found.items()}


def _field(name: str, value: Any, beside: JsonObject, cleaner: Cleaner) -> Any:
    walk = FIELDS.get(name)
    # The names of our own models are ours; apps name the others.
    if not value or walk is None or (name == "model" and beside.get("arm") != "external"):
        return value
    try:
        return walk(value, cleaner)
    except (AttributeError, TypeError) as error:
        raise Unreadable from error


def _turns(value: list[JsonObject], cleaner: Cleaner) -> list[JsonObject]:
    return [cleaned_turn(turn, cleaner.redact) for turn in value]


def _record(value: JsonObject, cleaner: Cleaner) -> JsonObject:
    return cleaned_record(value, cleaner.redact)


def _tools(value: list[JsonObject], cleaner: Cleaner) -> list[JsonObject]:
    return list(cleaned_tools(value, cleaner.redact))


def _attempts(value: list[JsonObject], cleaner: Cleaner) -> list[JsonObject]:
    return [cleaned_fields(attempt, cleaner) for attempt in value]


def _clusters(value: list[JsonObject], cleaner: Cleaner) -> list[JsonObject]:
    return [
        group
        | {
            "answers": _record(group["answers"], cleaner),
            "pairs": [
                pair | {"answer": answer(pair["answer"], cleaner)} for pair in group["pairs"]
            ],
        }
        for group in value
    ]


def _answers(value: list[str], cleaner: Cleaner) -> list[str]:
    return [answer(each, cleaner) for each in value]


def _content(value: JsonObject, cleaner: Cleaner) -> JsonObject:
    """Redact content stored beside an event; return where it is now."""
    return cleaner.contents.redacted(value, cleaner.left, lambda stored: event(stored, cleaner))


FIELDS: Mapping[str, Walk] = {
    "messages": _turns,
    "answer": answer,
    "model_answer": answer,
    "left": answer,
    "right": answer,
    "alternatives": _answers,
    "attempts": _attempts,
    "tools": _tools,
    "content": _content,
    "metadata": _record,
    "slices": _record,
    "said": _record,
    "text": text,
    "model": text,
    "because": text,
}


def read_json(value: str | bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise Unreadable from error


def read_object(value: str | bytes) -> JsonObject:
    found = read_json(value)
    if not isinstance(found, dict):
        raise Unreadable
    return found


def written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

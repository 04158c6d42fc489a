"""Rows of a JSON file: an object a line, or one list of objects."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from infra.data.losses import DataUnusable, Losses
from infra.data.table import Record, Table

# Lines that show whether a file has an object in each.
LOOKED_AT = 50
NO_OBJECT = "that are no JSON object"
TWICE = "that name a field twice"
HALF = "with half a surrogate pair"


class FieldTwice(ValueError):
    """Two values for one field: which is meant, nobody can tell."""


def is_json(text: str) -> bool:
    """Say whether a text is JSON: most lines look like objects, or all of it can be read as one."""
    lines = [line.strip() for line in islice(text.split("\n", LOOKED_AT), LOOKED_AT)]
    full = [line for line in lines if line]
    if sum(line.startswith("{") and line.rstrip(", ").endswith("}") for line in full) * 2 > len(
        full
    ):
        return True
    try:
        return text.lstrip()[:1] in {"{", "["} and parsed(text) is not None
    except FieldTwice:
        return True
    except (ValueError, RecursionError):
        return False


def read_json_rows(text: str) -> Table:
    """Return a table with a column for each field that some object has."""
    losses = Losses()
    found = list(objects(text, losses))
    columns = tuple(dict.fromkeys(name for _, row in found for name in row))
    if not columns:
        raise DataUnusable(
            f"no line holds a JSON object with fields ({losses.words()}): write a row a line, e.g."
            ' {"text": "Where is my parcel?", "label": "delivery"}'
        )
    rows = []
    for line, row in found:
        cells = tuple(as_cell(row.get(name)) for name in columns)
        if all(encodable(cell) for cell in cells if cell):
            rows.append(Record(line, cells))
        else:
            losses.add(HALF, line)
    return Table(columns, rows, losses, "JSON objects")


def objects(text: str, losses: Losses) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects with their lines; in one list the position counts for the line."""
    values = listed(text) if text.lstrip().startswith("[") else line_by_line(text, losses)
    for number, value in values:
        if isinstance(value, dict):
            yield number, with_turns(value)
        else:
            losses.add(NO_OBJECT, number)


def with_turns(row: dict[str, Any]) -> dict[str, Any]:
    """Add what user and assistant said last, where a row is a conversation as OpenAI's fine-tuning
    takes it.
    """
    turns = row.get("messages")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return row
    said = {turn.get("role"): turn.get("content") for turn in turns}
    return {name: value for name, value in row.items() if name != "messages"} | {
        role: said[role] for role in ("user", "assistant") if role in said
    }


def listed(text: str) -> Iterator[tuple[int, Any]]:
    try:
        yield from enumerate(parsed(text), 1)
    except (ValueError, RecursionError) as error:
        raise DataUnusable(
            "the file begins as a JSON list and cannot be read as one: write an object a line"
            " instead (JSONL), so that one that is broken costs itself alone"
        ) from error


def line_by_line(text: str, losses: Losses) -> Iterator[tuple[int, Any]]:
    """Yield the value of each line, None where it cannot be read."""
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        if not line.strip():
            losses.add("blank", number)
            continue
        try:
            yield number, parsed(line.strip().rstrip(", "))
        except FieldTwice:
            losses.add(TWICE, number)
        except (ValueError, RecursionError):
            yield number, None


def parsed(text: str) -> Any:
    """Parse JSON in which each object names a field once."""
    return json.loads(text, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise FieldTwice
    return fields


def as_cell(value: Any) -> str | None:
    """Return a value as a cell holds it: texts as they are, all else as JSON writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.dumps(value, ensure_ascii=False)


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

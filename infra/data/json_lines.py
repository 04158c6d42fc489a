"""Rows of a JSON file: an object a line, or all of it at once, as lists, columns or objects one
after another.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from infra.data.losses import DataUnusable, Losses
from infra.data.table import Record, Table

# Lines that show whether a file has an object in each.
LOOKED_AT = 50
# Within a string JSON writes them as escapes.
LINE_END = re.compile(r"\r\n|\r|\n")
# An object with a field, or a list of such, also where it breaks off later.
OBJECT = re.compile(r'\s*(\[\s*)?\{\s*"')
BETWEEN = re.compile(r"[\s,\x1e]*")
NO_OBJECT = "that are no JSON object"
TWICE = "that name a field twice"
HALF = "with half a surrogate pair"


class FieldTwice(ValueError):
    """Two values for one field: which is meant, nobody can tell."""


def is_json(text: str) -> bool:
    """Say whether a text is JSON: most lines look like objects, or it begins with a value."""
    if has_object_lines(text) or OBJECT.match(text):
        return True
    try:
        return text.lstrip()[:1] in {"{", "["} and next(values(text), None) is not None
    except FieldTwice:
        return True
    except (ValueError, RecursionError):
        return False


def has_object_lines(text: str) -> bool:
    lines = [line.strip() for line in islice(LINE_END.split(text, LOOKED_AT), LOOKED_AT)]
    full = [line for line in lines if line]
    like = [line for line in full if line.startswith("{") and line.rstrip(", ").endswith("}")]
    return len(like) * 2 > len(full)


def read_json_rows(text: str, names: tuple[str, ...] = ()) -> Table:
    """Return a table with a column for each field that some object has.

    `names` are the columns that somebody asked for: `data.text` is the field `text` of `data`.
    """
    losses = Losses()
    found = list(objects(text, losses))
    columns = tuple(dict.fromkeys(name for _, row in found for name in row))
    if not columns:
        if not losses.total:
            raise DataUnusable("the file is JSON and holds no rows: it needs an object for each")
        raise DataUnusable(
            f"no line holds a JSON object with fields ({losses.words()}): write a row a line, e.g."
            ' {"text": "Where is my parcel?", "label": "delivery"}'
        )
    inner = tuple(
        name
        for name in dict.fromkeys(names)
        if "." in name
        and name not in columns
        and any(inside(row, name) is not None for _, row in found)
    )
    rows = []
    for line, row in found:
        values = [row.get(name) for name in columns] + [inside(row, name) for name in inner]
        cells = tuple(map(as_cell, values))
        if all(encodable(cell) for cell in cells if cell):
            rows.append(Record(line, cells))
        else:
            losses.add(HALF, line)
    return Table(columns + inner, rows, losses, "JSON objects", has_header=columns[0] != "1")


def objects(text: str, losses: Losses) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects with their lines; where all is read at once the position counts."""
    by_line = has_object_lines(text)
    found = list(line_by_line(text, losses) if by_line else enumerate(at_once(text), 1))
    if len(found) == 1:
        by_line = False
        found = list(enumerate(rows_of(found[0][1]), 1))
    for number, value in found:
        if isinstance(value, dict):
            yield number, with_turns(value)
        elif isinstance(value, list) and value and not by_line:
            yield number, {str(place): cell for place, cell in enumerate(value, 1)}
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


def at_once(text: str) -> list[Any]:
    try:
        return list(values(text))
    except (ValueError, RecursionError) as error:
        raise DataUnusable(
            "the file begins as JSON and cannot be read as JSON to its end: write an object a line"
            " instead (JSONL), so that one that is broken costs itself alone"
        ) from error


def values(text: str) -> Iterator[Any]:
    """Yield the values that stand one after another."""
    decoder = json.JSONDecoder(object_pairs_hook=once)
    at = end_of_gap(text, 0)
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        at = end_of_gap(text, at)


def end_of_gap(text: str, at: int) -> int:
    gap = BETWEEN.match(text, at)
    return gap.end() if gap else at


def rows_of(value: Any) -> list[Any]:
    """Return the rows of one value: a list, an object around one, or columns as pandas writes
    them.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    lists = [each for each in value.values() if isinstance(each, list)]
    if len(lists) == 1 and all(isinstance(row, dict | list) for row in lists[0]):
        return lists[0]
    columns = [list(each.values()) if isinstance(each, dict) else each for each in value.values()]
    sizes = {len(each) if isinstance(each, list) else 0 for each in columns}
    if len(columns) > 1 and len(sizes) == 1 and max(sizes) > 1:
        return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return [value]


def line_by_line(text: str, losses: Losses) -> Iterator[tuple[int, Any]]:
    """Yield the value of each line, None where it cannot be read."""
    lines = LINE_END.split(text)
    for number, line in enumerate(lines if lines[-1] else lines[:-1], 1):
        if not line.strip():
            losses.add("blank", number)
            continue
        try:
            yield number, parsed(line.strip().rstrip(", "))
        except FieldTwice:
            losses.add(TWICE, number)
        except (ValueError, RecursionError):
            yield number, None


def inside(row: Any, name: str) -> Any:
    """Return the value that a name with dots leads to, by fields of objects and places in lists
    from 0 on; None where there is none.
    """
    for part in name.split("."):
        if isinstance(row, list) and part.isdecimal() and int(part) < len(row):
            row = row[int(part)]
        elif isinstance(row, dict):
            row = row.get(part)
        else:
            return None
    return row


def parsed(text: str) -> Any:
    """Parse JSON in which each object names a field once."""
    return json.loads(text, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise FieldTwice
    return fields


def as_cell(value: Any) -> str | None:
    """Return a value as a cell holds it: texts as they are, all else as JSON writes it, but the
    only one of a list without the list.
    """
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict | list):
        return as_cell(value[0])
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

"""Answers of an extraction as they are compared and trained on, and the schema that they share."""

from __future__ import annotations

import json
from typing import Any

from infra.data.json_lines import FieldTwice, parsed
from schemas.base import JsonObject

# JSON Schema's names of what `json.loads` returns.
TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}


class NoAnswer(ValueError):
    """A cell that holds no JSON object; the message is the reason, in words."""


def read_answer(cell: str) -> JsonObject:
    """Return the object that a cell holds."""
    try:
        value = parsed(cell)
        # NaN and Infinity are Python's JSON, not JSON.
        json.dumps(value, allow_nan=False)
    except FieldTwice as error:
        raise NoAnswer("whose answer names a field twice") from error
    except (ValueError, RecursionError) as error:
        python = cell.lstrip().startswith("{'")
        raise NoAnswer(
            "whose answer is Python's spelling of a dict: write it with json.dumps"
            if python
            else "whose answer is no JSON"
        ) from error
    if not isinstance(value, dict) or not value:
        raise NoAnswer("whose answer is JSON, but no object with fields")
    return value


def schema_of(answers: list[JsonObject]) -> JsonObject:
    """Return the narrowest JSON Schema that all answers keep: the types that occur, and as required
    the fields that every answer has.
    """
    return _schema(list(answers))


def _schema(values: list[Any]) -> JsonObject:
    types = dict.fromkeys(TYPES[type(value)] for value in values)
    if "number" in types:
        types.pop("integer", None)
    found: JsonObject = {"type": next(iter(types)) if len(types) == 1 else sorted(types)}
    if dicts := [value for value in values if isinstance(value, dict)]:
        names = dict.fromkeys(name for each in dicts for name in each)
        found["properties"] = {
            name: _schema([each[name] for each in dicts if name in each]) for name in names
        }
        found["required"] = [name for name in names if all(name in each for each in dicts)]
        found["additionalProperties"] = False
    if items := [item for value in values if isinstance(value, list) for item in value]:
        found["items"] = _schema(items)
    return found


def written(answer: JsonObject, schema: JsonObject) -> str:
    """Write an answer with its fields in the schema's order: one order is easier to learn."""
    return json.dumps(_ordered(answer, schema), ensure_ascii=False)


def _ordered(value: Any, schema: JsonObject) -> Any:
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {
            name: _ordered(value[name], properties[name]) for name in properties if name in value
        }
    if isinstance(value, list):
        return [_ordered(item, schema.get("items", {})) for item in value]
    return value

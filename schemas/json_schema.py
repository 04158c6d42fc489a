"""Whether JSON keeps a route's `output_schema`, and whether that is a schema at all.

jsonschema-rs is imported where it is first used: the contracts alone need pydantic and nothing
else (docs/decisions/0025-answers-by-task.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from schemas.base import JsonObject

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

# Characters of what is said about a schema, which is its owner's.
_SAID = 300
# Words that say something about values and forbid none.
_ANNOTATIONS = {
    "$comment",
    "$id",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
}
# Words with a schema under each name of the owner's.
_NAMED = {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"}


@dataclass(frozen=True)
class _Compiled:
    """A schema made ready, or what is wrong with it."""

    validator: Validator | None
    flaw: str | None


def keeps(value: Any, schema: JsonObject) -> str | None:
    """Say where a value breaks a schema, in the schema's words alone; None where it keeps it.

    A schema that cannot be used, as one that was stored before it was checked, forbids nothing.
    """
    validator = _compiled(to_json(schema)).validator
    if validator is None or validator.is_valid(value):
        return None
    broken = next(validator.iter_errors(value))
    return f"breaks the route's output_schema at {_path(broken.schema_path)}"


def schema_flaw(schema: JsonObject) -> str | None:
    """Say why a schema cannot be used; None where it can.

    Nothing is ever fetched: what it refers to must stand in it.
    """
    return _compiled(to_json(schema)).flaw


def same_schema(one: JsonObject, other: JsonObject) -> bool:
    """Say whether two schemas take the same values, as far as their words show.

    Titles and descriptions take nothing away. Nor does `additionalProperties: false`, which every
    client adds: a model that was taught one schema adds nothing.
    """
    return bool(_bare(one) == _bare(other))


def _bare(schema: Any) -> Any:
    """Return a schema without its annotations."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found: JsonObject = {}
    for word, value in schema.items():
        if word in _ANNOTATIONS or (word == "additionalProperties" and value is False):
            continue
        if word in _NAMED and isinstance(value, dict):
            found[word] = {name: _bare(part) for name, part in value.items()}
        elif word in ("required", "type", "enum") and isinstance(value, list):
            found[word] = sorted(value, key=repr)
        else:
            found[word] = value if word == "const" else _bare(value)
    return found


@lru_cache(maxsize=256)
def _compiled(schema: bytes) -> _Compiled:
    from jsonschema_rs import RegexOptions, ValidationError, validator_for

    try:
        # These patterns take linear time, and have no look-around or back-references for it.
        return _Compiled(
            validator_for(schema.decode(), offline=True, pattern_options=RegexOptions()), None
        )
    except ValidationError as error:
        return _Compiled(None, _in_words(error))


def _in_words(error: ValidationError) -> str:
    from jsonschema_rs import ValidationErrorKind

    said = error.message[:_SAID]
    if isinstance(error.kind, ValidationErrorKind.Referencing):
        return (
            f"refers to what does not stand in it ({said}); nothing is fetched: put it under $defs"
        )
    place = _path(error.instance_path)
    if place.rpartition("/")[2] == "pattern" or "patternProperties" in place:
        return (
            f"has a pattern at {place} that cannot be used: {said}. Patterns must take linear time:"
            " no look-around, no back-references, no huge repetition"
        )
    return f"is no JSON Schema at {place}: {said}"


def _path(steps: list[str | int]) -> str:
    return "/".join(map(str, steps)) or "its root"

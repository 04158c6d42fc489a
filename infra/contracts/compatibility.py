"""Says whether events written under an old schema can still be read under a new one.

Reported: what the new schema no longer accepts, and fields that are gone (somebody reads them).
Allowed: new fields with a default, wider types and limits, more values of an enumeration.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import JsonObject

LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
WIDER = {"integer": "number"}
ADVICE = "make a new version of the event (VERSION = 2, topic '...-v2') or undo the change"


def breaks(old: JsonObject, new: JsonObject) -> list[str]:
    """Return a message for each way in which `new` breaks with `old`; none: it is compatible."""
    return [f"{message}: {ADVICE}" for message in Comparison(old, new).compare(old, new, "event")]


class Comparison:
    """Two schemas with their definitions."""

    def __init__(self, old: JsonObject, new: JsonObject) -> None:
        self.old_definitions = old.get("$defs", {})
        self.new_definitions = new.get("$defs", {})

    def compare(self, old: JsonObject, new: JsonObject, at: str) -> Iterator[str]:
        old = resolve(old, self.old_definitions)
        new = resolve(new, self.new_definitions)
        if "anyOf" in old or "anyOf" in new:
            yield from self._alternatives(old, new, at)
            return
        yield from self._type(old, new, at)
        yield from self._values(old, new, at)
        yield from self._limits(old, new, at)
        yield from self._fields(old, new, at)
        yield from self._parts(old, new, at)

    def _alternatives(self, old: JsonObject, new: JsonObject, at: str) -> Iterator[str]:
        """Check that the new schema allows somewhere each thing that the old one did."""
        candidates = new.get("anyOf", [new])
        for one in old.get("anyOf", [old]):
            found = [list(self.compare(one, candidate, at)) for candidate in candidates]
            if all(found):
                same_type = [
                    problems
                    for candidate, problems in zip(candidates, found, strict=True)
                    if self._kind(candidate, self.new_definitions)
                    == self._kind(one, self.old_definitions)
                ]
                yield from min(
                    same_type,
                    key=len,
                    default=[f"{at} no longer accepts {self._kind(one, self.old_definitions)}"],
                )

    def _kind(self, schema: JsonObject, definitions: JsonObject) -> str:
        resolved = resolve(schema, definitions)
        return (
            resolved.get("title", "object")
            if "properties" in resolved
            else str(resolved.get("type", "anything"))
        )

    def _type(self, old: JsonObject, new: JsonObject, at: str) -> Iterator[str]:
        before = old.get("type")
        after = new.get("type")
        if after is not None and after != before and WIDER.get(before or "") != after:
            yield f"{at} was narrowed from {before or 'anything'} to {after}"

    def _values(self, old: JsonObject, new: JsonObject, at: str) -> Iterator[str]:
        before = values(old)
        after = values(new)
        if after is None:
            return
        if before is None:
            yield f"{at} was narrowed to the values {after}"
        elif gone := [value for value in before if value not in after]:
            yield f"{at} no longer accepts {gone}"

    def _limits(self, old: JsonObject, new: JsonObject, at: str) -> Iterator[str]:
        for limit in LOWER_LIMITS:
            if new.get(limit, float("-inf")) > old.get(limit, float("-inf")):
                yield f"{at} has a higher {limit} ({old.get(limit)} -> {new[limit]})"
        for limit in UPPER_LIMITS:
            if new.get(limit, float("inf")) < old.get(limit, float("inf")):
                yield f"{at} has a lower {limit} ({old.get(limit)} -> {new[limit]})"
        for rule in ("pattern", "format"):
            if rule in new and new[rule] != old.get(rule):
                yield f"{at} has another {rule} ({old.get(rule)} -> {new[rule]})"

    def _fields(self, old: JsonObject, new: JsonObject, at: str) -> Iterator[str]:
        before = old.get("properties", {})
        after = new.get("properties", {})
        for name in sorted(set(before) - set(after)):
            yield f"{at}.{name} was removed"
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield (
                f"{at}.{name} is required and was {'optional' if name in before else 'not there'}:"
                " give it a default, or"
            )
        for name in sorted(set(before) & set(after)):
            yield from self.compare(before[name], after[name], f"{at}.{name}")

    def _parts(self, old: JsonObject, new: JsonObject, at: str) -> Iterator[str]:
        """Compare what arrays and maps hold."""
        for part in ("items", "additionalProperties"):
            before = old.get(part, True)
            after = new.get(part, True)
            if after is False and before is not False:
                yield f"{at} no longer allows further fields"
            elif isinstance(after, dict):
                yield from self.compare(
                    before if isinstance(before, dict) else {}, after, f"{at}[]"
                )


def resolve(schema: JsonObject, definitions: JsonObject) -> JsonObject:
    if "$ref" in schema:
        return resolve(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    return schema


def values(schema: JsonObject) -> list[object] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")

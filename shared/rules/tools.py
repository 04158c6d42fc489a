"""Functions that an app offers to a model: how calls are asked for, and how they are read.

Calls that must come are held to JSON by the engine's structured outputs, so that they need no
parser of the base model's own format; calls of a model's own choice do (vLLM's
--tool-call-parser).
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.base import JsonObject
from schemas.json_answers import read_json
from schemas.tool_calls import Called, Turn, read_turn

# Where a schema keeps what it refers to; newer drafts, and older ones.
DEFINITIONS = ("$defs", "definitions")


@dataclass(frozen=True)
class Tools:
    """What a model may call, or must."""

    # OpenAI's objects of type function.
    offered: tuple[JsonObject, ...]
    # At least one call must come.
    must: bool = False
    # The function that must be called.
    named: str | None = None
    # Whether several calls may come at once.
    parallel: bool = True

    def request(self) -> JsonObject:
        """Return what is added to a request.

        vLLM takes no structured outputs beside a choice that forces a call, and the template shows
        the functions in any case.
        """
        body: JsonObject = {"tools": list(self.offered)}
        if self.must:
            return body | {"tool_choice": "none"}
        return body | {"tool_choice": "auto", "parallel_tool_calls": self.parallel}

    def schema(self) -> JsonObject | None:
        """Return what calls that must come are held to: the arguments of the one, or a list.

        Raises ValueError where two functions mean different things by one name of a definition.
        """
        if not self.must:
            return None
        functions = [tool["function"] for tool in self.offered]
        if self.named:
            [parameters] = [_taken(f) for f in functions if f["name"] == self.named]
            return parameters
        definitions: JsonObject = {}
        calls = []
        for function in functions:
            parameters = dict(_taken(function))
            for word in DEFINITIONS:
                own = parameters.pop(word, {})
                if not isinstance(own, dict):
                    raise ValueError(f"{word} is no object")  # noqa: TRY004 - an app sent it
                shared = definitions.setdefault(word, {})
                if any(shared.setdefault(name, schema) != schema for name, schema in own.items()):
                    raise ValueError(f"two functions have different {word} of one name")
            calls.append(
                {
                    "type": "object",
                    "properties": {"name": {"const": function["name"]}, "arguments": parameters},
                    "required": ["name", "arguments"],
                    "additionalProperties": False,
                }
            )
        found: JsonObject = {"type": "array", "items": {"anyOf": calls}, "minItems": 1}
        if not self.parallel:
            found["maxItems"] = 1
        return found | {word: schemas for word, schemas in definitions.items() if schemas}

    def read(self, message: JsonObject, is_whole: bool) -> Turn:
        """Return what a message of the engine says; calls that were cut are given as text."""
        content = message.get("content") or ""
        if self.named:
            return Turn("", (Called(self.named, content),)) if content else Turn("")
        if self.must:
            return _listed(content) if is_whole else Turn(content)
        calls = (call["function"] for call in message.get("tool_calls") or ())
        found = tuple(Called(str(call["name"]), str(call["arguments"] or "{}")) for call in calls)
        return Turn(content, found)


def _taken(function: JsonObject) -> JsonObject:
    """Return the schema of a function's arguments: without one it takes none."""
    return function.get("parameters") or {"type": "object", "properties": {}}


def _listed(content: str) -> Turn:
    try:
        value = read_json(content)
    except ValueError:
        return Turn(content)
    found = read_turn(f'{{"tool_calls": {content}}}') if isinstance(value, list) else Turn(content)
    return found if found.calls else Turn(content)

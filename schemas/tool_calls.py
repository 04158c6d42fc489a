"""A model's turn that calls functions, written as an answer: JSON that people read and correct, and
that every service reads back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.answers import why_malformed
from schemas.base import JsonObject
from schemas.json_answers import read_json
from schemas.json_schema import keeps
from schemas.route import RouteSpec

CALLS = "tool_calls"
TEXT = "content"


class Called(NamedTuple):
    """A function that is called; `arguments` is JSON."""

    name: str
    arguments: str


class Turn(NamedTuple):
    """What a model says: a text, calls, or both."""

    content: str
    calls: tuple[Called, ...] = ()


def written(turn: Turn) -> str:
    """Write a turn as an answer: its text where it calls nothing."""
    if not turn.calls:
        return turn.content
    calls = [{"name": name, "arguments": _value(text)} for name, text in turn.calls]
    said = {TEXT: turn.content} if turn.content.strip() else {}
    return json.dumps(said | {CALLS: calls}, ensure_ascii=False, indent=2)


def read_turn(answer: str) -> Turn:
    """Return the turn that an answer is; what does not have the form of calls is text."""
    if not answer.lstrip().startswith("{"):
        return Turn(answer)
    try:
        said = read_json(answer)
    except ValueError:
        return Turn(answer)
    content, calls = said.get(TEXT, ""), said.get(CALLS)
    if not (said.keys() <= {TEXT, CALLS} and isinstance(content, str) and _are_calls(calls)):
        return Turn(answer)
    return Turn(content, tuple(Called(call["name"], _text(call["arguments"])) for call in calls))


def why_unusable(answer: str, spec: RouteSpec, tools: Sequence[JsonObject]) -> str | None:
    """Say what an answer lacks where functions could be called; None where it is well formed."""
    turn = read_turn(answer) if tools else Turn(answer)
    return flaw_of(turn, tools) if turn.calls else why_malformed(answer, spec)


def flaw_of(turn: Turn, tools: Sequence[JsonObject]) -> str | None:
    """Say why calls cannot be made, in words that hold nothing of them; None where they can."""
    functions = (tool.get("function", {}) for tool in tools)
    known = {one.get("name"): one.get("parameters") for one in functions}
    for call in turn.calls:
        if call.name not in known:
            return "calls a function that was not offered"
        try:
            arguments = read_json(call.arguments)
        except ValueError:
            return "calls a function with arguments that are no JSON"
        if not isinstance(arguments, dict):
            return "calls a function with arguments that are no JSON object"
        if keeps(arguments, known[call.name] or {}):
            return "calls a function with arguments that it does not take"
    return None


def _are_calls(calls: object) -> bool:
    return (
        isinstance(calls, list)
        and bool(calls)
        and all(
            isinstance(call, dict)
            and call.keys() == {"name", "arguments"}
            and isinstance(call["name"], str)
            and isinstance(call["arguments"], dict | str)
            for call in calls
        )
    )


def _value(arguments: str) -> Any:
    """Return arguments as the object that they are, else as the text."""
    try:
        value = read_json(arguments or "{}")
    except ValueError:
        return arguments
    return value if isinstance(value, dict) else arguments


def _text(arguments: JsonObject | str) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))

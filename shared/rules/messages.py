"""What a chat message says, as text: one reader for every door, and for the parts of every vendor.

Texts of a message stand on lines of their own: `Hello` and `world` glued together say something
else, and hide from redaction where a number ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from schemas.base import ToolCall
from schemas.json_answers import read_json

Role = Literal["system", "user", "assistant", "tool"]

# OpenAI's names, old and new; `human`, `ai` of LangChain; `model` of Gemini.
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
# Parts of one message.
MOST_PARTS = 500
# A tool's result holds parts again.
DEEPEST = 3
# Where the text of a part stands: OpenAI, Anthropic, Bedrock and Gemini say `text`.
TEXTS = ("text", "refusal", "output_text", "content", "output")
# What a model thought is no part of what it said.
THOUGHTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_content", "reasoningContent"}
CALLS = {"tool_use", "tool_call", "function_call", "toolUse", "functionCall", "tool-call"}
# By how a part's kind begins: what stands in the text in its place.
PLACEHOLDERS = (
    ("image", "image"),
    ("input_image", "image"),
    ("audio", "audio"),
    ("input_audio", "audio"),
    ("video", "video"),
    ("input_video", "video"),
    ("file", "file"),
    ("input_file", "file"),
    ("document", "file"),
    ("inline", "file"),
)
NAME = re.compile(r"[\w.:-]{1,64}")
CALL_ID = re.compile(r"[!-~]{1,200}")
# Of one message.
MOST_CALLS = 128
KIND = re.compile(r"[\w.-]{1,40}")


class NoContent(ValueError):
    """No content of a message; says why, without what was sent."""


class Said(NamedTuple):
    """What a message says. `left_out` are the kinds of what is no text; of most a placeholder
    stands in the text.
    """

    text: str
    left_out: tuple[str, ...] = ()


class _Part(NamedTuple):
    text: str | None
    left_out: str | None = None


def read_message(content: object, calls: object = None) -> Said:
    """Read the content of a message and the tool calls beside it.

    Raises NoContent where it is nothing that any vendor sends.
    """
    parts = [*_parts(content), *(_call(call) for call in _calls(calls))]
    return Said(
        "\n".join(part.text for part in parts if part.text is not None),
        tuple(part.left_out for part in parts if part.left_out),
    )


def read_calls(calls: object) -> tuple[ToolCall, ...]:
    """Return the calls of a message where all are OpenAI's, of functions and with an object as
    arguments; else none of them, for a part of a turn would be another turn.
    """
    if not isinstance(calls, list) or not 0 < len(calls) <= MOST_CALLS:
        return ()
    read = tuple(map(_tool_call, calls))
    return tuple(call for call in read if call) if all(read) else ()


def _tool_call(call: object) -> ToolCall | None:
    match call:
        case {"id": str(identity), "function": {"name": str(name), "arguments": str(sent)}}:
            try:
                is_object = isinstance(read_json(sent or "{}"), dict)
            except ValueError:
                return None
            if is_object and NAME.fullmatch(name) and CALL_ID.fullmatch(identity):
                return ToolCall(id=identity, name=name, arguments=sent or "{}")
    return None


def _parts(content: object, depth: int = 0) -> Iterator[_Part]:
    if content is None:
        return
    if isinstance(content, str):
        yield _Part(content)
        return
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        raise NoContent("Input should be a valid string, or a list of parts")
    if len(parts) > MOST_PARTS:
        raise NoContent(f"more than {MOST_PARTS} parts; join them")
    for part in parts:
        if isinstance(part, str):
            yield _Part(part)
        elif isinstance(part, dict):
            yield from _part(part, depth)
        else:
            raise NoContent("a part is neither a text nor an object")


def _part(part: dict[Any, Any], depth: int) -> Iterator[_Part]:
    kind = _kind(part)
    if kind in THOUGHTS:
        yield _Part(None, kind)
    elif kind in CALLS:
        yield _call(part)
    elif (word := _placeholder(kind)) is not None:
        yield _Part(f"[{word}]", kind)
    elif depth < DEEPEST and (text := next(filter(None, map(part.get, TEXTS)), None)):
        # The Assistants API says {"text": {"value": ...}}.
        if isinstance(text, dict) and isinstance(text.get("value"), str):
            text = text["value"]
        yield from _parts(text, depth + 1)
    elif isinstance(part.get("text"), str):
        yield _Part("")
    else:
        yield _Part(None if kind == "text" else f"[{kind}]", kind)


def _kind(part: dict[Any, Any]) -> str:
    """Return what a part says it is; where it does not, as with Bedrock and Gemini, its key is."""
    kind = part.get("type") or next(iter(part), None)
    return kind if isinstance(kind, str) and KIND.fullmatch(kind) else "part"


def _placeholder(kind: str) -> str | None:
    return next((word for begin, word in PLACEHOLDERS if kind.startswith(begin)), None)


def _calls(calls: object) -> list[object]:
    if isinstance(calls, dict):
        return [calls]
    return calls[:MOST_PARTS] if isinstance(calls, list) else []


def _call(call: object) -> _Part:
    """Name the function that was called; its arguments are no text of the conversation."""
    said = call if isinstance(call, dict) else {}
    inner = next(
        (said[key] for key in ("function", "toolUse", "functionCall") if key in said), said
    )
    name = inner.get("name") if isinstance(inner, dict) else None
    if isinstance(name, str) and NAME.fullmatch(name):
        return _Part(f"[tool call: {name}]", "tool_call")
    return _Part("[tool call]", "tool_call")

"""What is redacted of a conversation: every text, also those within JSON, which stays JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from schemas.base import JsonObject, Message
from schemas.json_answers import read_json
from schemas.tool_calls import Called, Turn, read_turn, written

Redact = Callable[[str], str]


def cleaned(messages: Iterable[Message], redact: Redact) -> tuple[Message, ...]:
    """Redact messages, with the arguments of their calls; most are given back as they are."""
    return tuple(_cleaned(message, redact) for message in messages)


def _cleaned(message: Message, redact: Redact) -> Message:
    changes: dict[str, object] = {}
    if (content := redact(message.content)) != message.content:
        changes["content"] = content
    if message.tool_calls:
        changes["tool_calls"] = tuple(
            call.model_copy(update={"arguments": cleaned_json(call.arguments, redact)})
            for call in message.tool_calls
        )
    if message.name:
        changes["name"] = redact(message.name)
    return message.model_copy(update=changes) if changes else message


def cleaned_answer(answer: str, redact: Redact) -> str:
    """Redact an answer that may call functions."""
    content, calls = read_turn(answer)
    if not calls:
        return redact(answer)
    named = (Called(redact(name), cleaned_json(arguments, redact)) for name, arguments in calls)
    return written(Turn(redact(content), tuple(named)))


def cleaned_json(text: str, redact: Redact) -> str:
    """Redact the values of JSON: a number that says too much becomes a text, and nothing else of
    it changes. What is no JSON is redacted as any text.
    """
    if redact(text) == text:
        return text
    try:
        value = read_json(text)
    except ValueError:
        return redact(text)
    return json.dumps(cleaned_value(value, redact), ensure_ascii=False, separators=(",", ":"))


def cleaned_value(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [cleaned_value(part, redact) for part in value]
    if isinstance(value, dict):
        return {redact(name): cleaned_value(part, redact) for name, part in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        kept = redact(said := json.dumps(value))
        return value if kept == said else kept
    return value


def cleaned_tools(tools: Iterable[JsonObject], redact: Redact) -> tuple[JsonObject, ...]:
    return tuple(cleaned_value(tool, redact) for tool in tools)

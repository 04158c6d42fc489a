"""What is redacted of a conversation: every text, also those within JSON, which stays JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from schemas.base import JsonObject, Message
from schemas.json_answers import read_json
from schemas.tool_calls import Called, Turn, read_turn, written

Redact = Callable[[str], str]


def cleaned(messages: Iterable[Message], redact: Redact) -> tuple[Message, ...]:
    """Redact messages, with the arguments of their calls; most are given back as they are."""
    return tuple(_cleaned(message, redact) for message in messages)


def _cleaned(message: Message, redact: Redact) -> Message:
    changes: dict[str, object] = {}
    for name in ("content", "name", "tool_call_id"):
        said = getattr(message, name)
        if said and (kept := redact(said)) != said:
            changes[name] = kept
    if message.tool_calls:
        changes["tool_calls"] = tuple(
            call.model_copy(update=cleaned_turn(call.model_dump(), redact))
            for call in message.tool_calls
        )
    return message.model_copy(update=changes) if changes else message


def cleaned_turn(turn: JsonObject, redact: Redact) -> JsonObject:
    """Redact every string of a message that is not read into a model, those of its calls too; a
    role is one of a few words.
    """
    return {
        name: value if name == "role" else _said(name, value, redact)
        for name, value in turn.items()
    }


def _said(name: str, value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return cleaned_json(value, redact) if name == "arguments" else redact(value)
    if isinstance(value, list):
        return [cleaned_turn(call, redact) for call in value]
    return value


def cleaned_answer(answer: str, redact: Redact) -> str:
    """Redact an answer that may call functions."""
    content, calls = read_turn(answer)
    if not calls:
        return redact(answer)
    named = (Called(redact(name), cleaned_json(arguments, redact)) for name, arguments in calls)
    return written(Turn(redact(content), tuple(named)))


def cleaned_json(text: str, redact: Redact) -> str:
    """Redact JSON as it is written: it stays JSON, and its numbers stay numbers."""
    kept = redact(text)
    return kept if kept == text or is_json(kept) or not is_json(text) else said_again(text, redact)


def is_json(text: str) -> bool:
    try:
        read_json(text)
    except ValueError:
        return False
    return True


def said_again(text: str, redact: Redact) -> str:
    """Redact the strings of JSON one by one, where redacting all of it at once would break it."""
    value = cleaned_strings(read_json(text), redact)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def cleaned_strings(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [cleaned_strings(part, redact) for part in value]
    if isinstance(value, dict):
        return {redact(name): cleaned_strings(part, redact) for name, part in value.items()}
    return value


Record = TypeVar("Record", JsonObject, dict[str, str])


def cleaned_record(record: Record, redact: Redact) -> Record:
    """Redact all strings of a record, its names among them, and each value with its name beside it:
    `4155552671` is nothing by itself, and a phone number as `{"phone": "4155552671"}`.
    """
    if not record:
        return record
    text = json.dumps(record, ensure_ascii=False)
    kept = cleaned_json(text, redact)
    return record if kept == text else cast(Record, json.loads(kept))


def cleaned_tools(tools: Iterable[JsonObject], redact: Redact) -> tuple[JsonObject, ...]:
    return tuple(cleaned_record(tool, redact) for tool in tools)

"""OpenAI's APIs that are doors to routes: how a request is read, and how its answer is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic_core import to_json

from schemas.base import JsonObject
from services.router import answers, completions, responses
from services.router.answers import ChatAnswer
from services.router.chat import ChatRequest, read


@dataclass(frozen=True)
class Shape:
    """One API. Whatever comes in is asked as a chat; `body` and `events` tell one answer."""

    read: Callable[[bytes], ChatRequest]
    body: Callable[[ChatAnswer], JsonObject]
    # Of a stream, from its first byte to its last; with OpenAI's usage at its end, or without.
    events: Callable[[ChatAnswer, bool], bytes]
    # The end of a stream that has an error in place of an answer: OpenAI's body of it.
    failure: Callable[[JsonObject], bytes]


def data(content: JsonObject) -> bytes:
    return b"data: " + to_json(content) + b"\n\n"


END = b"data: [DONE]\n\n"


def failure(error: JsonObject) -> bytes:
    return data(error) + END


def chat_events(answered: ChatAnswer, with_usage: bool) -> bytes:
    return b"".join(map(data, answers.chunks(answered, with_usage))) + END


def completion_events(answered: ChatAnswer, with_usage: bool) -> bytes:
    return b"".join(map(data, completions.chunks(answered, with_usage))) + END


def named(event: JsonObject) -> bytes:
    return f"event: {event['type']}\n".encode() + data(event)


def response_events(answered: ChatAnswer, _: bool) -> bytes:
    return b"".join(map(named, responses.events(answered)))


def response_failure(error: JsonObject) -> bytes:
    said = error["error"]
    event = {"type": "error", "sequence_number": 0}
    return named(event | {name: said[name] for name in ("code", "message", "param")})


CHAT = Shape(read, answers.completion_body, chat_events, failure)
COMPLETIONS = Shape(completions.read, completions.body, completion_events, failure)
RESPONSES = Shape(responses.read, responses.body, response_events, response_failure)

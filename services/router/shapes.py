"""OpenAI's APIs that are doors to routes: how a request is read, and how its answer is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pydantic_core import to_json

from schemas.base import JsonObject
from services.router import answers, chunks, completions, response_events, responses
from services.router.answers import ChatAnswer
from services.router.chat import ChatRequest, read
from services.router.live import Piece
from services.router.wishes import Wishes


class Telling(Protocol):
    """The events of one stream: `whole` of an answer that is there; else `begin`, each `piece` as
    it comes, and `end`.
    """

    def whole(self, answered: ChatAnswer) -> Iterator[JsonObject]: ...

    def begin(self) -> Iterator[JsonObject]: ...

    def piece(self, piece: Piece) -> Iterator[JsonObject]: ...

    def end(self, answered: ChatAnswer) -> Iterator[JsonObject]: ...


@dataclass(frozen=True)
class Shape:
    """One API. Whatever comes in is asked as a chat; `body` and `telling` tell one answer."""

    # Its address under /v1/.
    door: str
    read: Callable[[bytes], ChatRequest]
    body: Callable[[ChatAnswer], JsonObject]
    # Of an inference and its route, as the app wants it.
    telling: Callable[[str, str, Wishes], Telling]
    # How an event is written, and what ends a stream.
    event: Callable[[JsonObject], bytes]
    ending: bytes
    # The end of a stream that has an error in place of an answer: OpenAI's body of it.
    failure: Callable[[JsonObject], bytes]

    def written(self, events: Iterable[JsonObject]) -> bytes:
        return b"".join(map(self.event, events))


def data(content: JsonObject) -> bytes:
    return b"data: " + to_json(content) + b"\n\n"


END = b"data: [DONE]\n\n"


def failure(error: JsonObject) -> bytes:
    return data(error) + END


def named(event: JsonObject) -> bytes:
    return f"event: {event['type']}\n".encode() + data(event)


def response_failure(error: JsonObject) -> bytes:
    said = error["error"]
    event = {"type": "error", "sequence_number": 0}
    return named(event | {name: said[name] for name in ("code", "message", "param")})


CHAT = Shape("chat/completions", read, answers.completion_body, chunks.Chunks, data, END, failure)
COMPLETIONS = Shape(
    "completions", completions.read, completions.body, completions.Chunks, data, END, failure
)
RESPONSES = Shape(
    "responses",
    responses.read,
    response_events.body,
    response_events.Events,
    named,
    b"",
    response_failure,
)

"""How much of an item a page shows: as much as a person reads, and never so much that showing it
stops the service or the browser. All of it can be downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.base import JsonObject, Message
from schemas.tool_calls import Called, written
from schemas.tool_calls import Turn as ModelTurn
from services.review.items import Exchange

# Characters. 70,000 hidden ones, the slowest to show, take 0.3 s and make a page of 6 MB.
MOST_OF_A_TEXT = 20_000
MOST_OF_A_PAGE = 30_000
# A thousand turns are no dialogue that a reviewer reads; the last ones are what was asked.
MOST_MESSAGES = 100


@dataclass(frozen=True)
class Cut:
    """The beginning of a text, and how many characters of it are left out."""

    text: str
    left_out: int = 0

    @classmethod
    def of(cls, text: str, most: int = MOST_OF_A_TEXT) -> Cut:
        return cls(text[:most], max(0, len(text) - most))


@dataclass(frozen=True)
class Turn:
    role: str
    content: Cut


@dataclass(frozen=True)
class Shown:
    """What a page shows of an exchange; `earlier` messages stand before it and are left out, and
    `tools` are the functions that the model could call.
    """

    turns: Sequence[Turn]
    earlier: int
    answer: Cut
    suggestion: Cut | None
    tools: Cut | None = None

    @classmethod
    def of(cls, exchange: Exchange, suggestion: str | None) -> Shown:
        turns = last_turns(exchange.messages)
        return cls(
            turns=turns,
            earlier=len(exchange.messages) - len(turns),
            answer=Cut.of(exchange.answer),
            suggestion=Cut.of(suggestion) if suggestion else None,
            tools=Cut.of(laid_out(exchange.tools)) if exchange.tools else None,
        )


def laid_out(tools: Sequence[JsonObject]) -> str:
    """Return functions as a person reads them: each with its name, what it is for, and takes."""
    functions = [tool.get("function", {}) for tool in tools]
    return "\n\n".join(
        "\n".join(
            filter(
                None,
                (
                    str(one.get("name", "")),
                    str(one.get("description", "")),
                    json.dumps(one.get("parameters") or {}, ensure_ascii=False, indent=2),
                ),
            )
        )
        for one in functions
    )


def said_in(message: Message) -> str:
    """Return what a message says, with the functions that it calls and their arguments."""
    if not message.tool_calls:
        return message.content
    calls = tuple(Called(call.name, call.arguments) for call in message.tool_calls)
    return written(ModelTurn(message.content, calls))


def last_turns(messages: Sequence[Message]) -> Sequence[Turn]:
    """Return the last messages that fit on a page."""
    turns: list[Turn] = []
    room = MOST_OF_A_PAGE
    for message in reversed(messages[-MOST_MESSAGES:]):
        if room <= 0:
            break
        content = Cut.of(said_in(message), min(room, MOST_OF_A_TEXT))
        room -= len(content.text)
        turns.append(Turn(message.role, content))
    return turns[::-1]

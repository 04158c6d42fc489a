"""A message as apps send it to capture, and as it is kept: with the calls and results of tools."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from schemas.base import JsonObject, ToolCall
from shared.http import Storable
from shared.rules import ROLES, read_message

# Of one text; what is too large for an event goes by reference, and a body is bounded as a whole.
MAX_TEXT = 4 * 1024 * 1024
# Of a tool, or of a call.
NAME = re.compile(r"[!-~]{1,200}")


def _text_of(content: object) -> object:
    """Join parts that are all text; what is more than that needs a closer look."""
    if isinstance(content, str):
        return content
    said = read_message(content)
    if said.left_out or content is None:
        raise ValueError("is more than text")
    return said.text


def _name_or_nothing(value: object) -> str | None:
    return value if isinstance(value, str) and NAME.fullmatch(value) else None


Text = Annotated[str, Field(max_length=MAX_TEXT), Storable]


ToolId = Annotated[str, Field(max_length=200)]


class KeptCall(ToolCall):
    id: ToolId
    name: ToolId
    arguments: Text


class SentMessage(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    role: Annotated[
        Literal["system", "user", "assistant", "tool"],
        BeforeValidator(lambda role: ROLES.get(role, role) if isinstance(role, str) else role),
    ]
    content: Annotated[Text, BeforeValidator(_text_of)]
    # As they are kept; `mending` reads what apps send.
    tool_calls: Annotated[tuple[KeptCall, ...], Field(max_length=128)] | None = None
    # Of a tool's result; not kept where they are no names.
    tool_call_id: Annotated[ToolId | None, BeforeValidator(_name_or_nothing)] = None
    name: Annotated[ToolId | None, BeforeValidator(_name_or_nothing)] = None
    function_call: None = None

    def turn(self) -> JsonObject:
        """Return it as an event holds it."""
        turn: JsonObject = {"role": self.role, "content": self.content}
        if self.tool_calls:
            turn["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        if self.role == "tool":
            named = {"tool_call_id": self.tool_call_id, "name": self.name}
            turn |= {name: value for name, value in named.items() if value}
        return turn

    def shown(self) -> str:
        """Return what it says, and which functions it calls."""
        called = (f"[tool call: {call.name}]" for call in self.tool_calls or ())
        return "\n".join(filter(None, (self.content, *called)))

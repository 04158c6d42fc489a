"""The messages of a chat: how they are read, with the calls and results of tools. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from schemas.base import JsonObject, Message, ToolCall
from schemas.json_answers import read_json
from services.router.openai_errors import BadRequest
from shared.rules import MOST_PARTS, ROLES, NoContent, read_message

# The first wrong member of a list ends the reading: 4 MiB of them would each cost an error.
MOST_CHARACTERS = 16 * 1024 * 1024
MOST_CALLS = 128
Content = Annotated[str, Field(max_length=MOST_CHARACTERS)]
# Read by `read_message`, as in capture.
Part = Annotated[JsonObject, Field(max_length=32)]
CallId = Annotated[str, Field(min_length=1, max_length=200)]
ToolName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]


class SentFunction(BaseModel):
    name: ToolName
    arguments: Content = ""


class SentCall(BaseModel):
    """What an assistant called; only functions are."""

    id: CallId
    type: Literal["function"] = "function"
    function: SentFunction


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: (
        Content
        | Annotated[list[Content | Part], Field(max_length=MOST_PARTS, fail_fast=True)]
        | None
    ) = None
    tool_calls: Annotated[list[SentCall], Field(max_length=MOST_CALLS, fail_fast=True)] | None = (
        None
    )
    tool_call_id: CallId | None = None
    name: Annotated[str, Field(max_length=1000)] | None = None
    function_call: Part | None = None


def conversation(sent: Sequence[ChatMessage]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Return the messages, and what is not read of them. Raises BadRequest."""
    messages = []
    calls: set[str] = set()
    unkept: tuple[str, ...] = ()
    for number, message in enumerate(sent):
        read = _message(message, number)
        messages.append(read)
        if read.tool_calls:
            calls.update(call.id for call in read.tool_calls)
        elif read.role == "tool" and read.tool_call_id not in calls:
            raise BadRequest(
                "a tool's message answers a call: its tool_call_id must be the id of one in the"
                " tool_calls of an assistant's message before it",
                f"messages.{number}.tool_call_id",
            )
        if message.name and read.role != "tool":
            unkept = ("messages: name",)
    return tuple(messages), unkept


def _message(message: ChatMessage, number: int) -> Message:
    where = f"messages.{number}"
    if message.role == "function" or message.function_call:
        raise BadRequest(
            "functions are not supported: send tool_calls, and messages of the role tool",
            f"{where}.{'function_call' if message.function_call else 'role'}",
        )
    role = ROLES[message.role]
    content = _content(message, where)
    if not (message.tool_calls or role == "tool"):
        return Message(role=role, content=content)
    if message.tool_calls and role != "assistant":
        raise BadRequest("only an assistant calls tools", f"{where}.tool_calls")
    return Message(
        role=role,
        content=content,
        tool_calls=tuple(
            _call(call, f"{where}.tool_calls.{place}")
            for place, call in enumerate(message.tool_calls or ())
        ),
        tool_call_id=message.tool_call_id if role == "tool" else None,
        name=message.name if role == "tool" else None,
    )


def _content(message: ChatMessage, where: str) -> str:
    if message.content is None and not message.tool_calls:
        raise BadRequest("a message needs text content", f"{where}.content")
    try:
        said = read_message(message.content)
    except NoContent as error:
        raise BadRequest(str(error), f"{where}.content") from error
    if said.left_out:
        raise BadRequest(
            f"only text content is supported, not '{said.left_out[0]}'", f"{where}.content"
        )
    return said.text


def _call(call: SentCall, where: str) -> ToolCall:
    """Chat templates read arguments as an object."""
    try:
        arguments = read_json(call.function.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise BadRequest(
            "arguments: a JSON object as text is needed", f"{where}.function.arguments"
        )
    return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments or "{}")

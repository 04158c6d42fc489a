"""What was asked and answered, stored beside an event where it is too large for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import Field
from pydantic_core import to_json

from schemas.base import BlobRef, JsonObject, Message, ToolCall, Value, is_unset
from shared.storage import BlobStore

INLINE_BYTES = 256 * 1024  # of messages, answer and tools, as JSON, that an event may carry itself
ESCAPED_BYTES = 6  # of a character in JSON, at most: \\u0001; others take up to 4 in UTF-8
FRAME_BYTES = 64  # of a message beside its content
CALL = 20  # characters that stand for the names of a call's fields


class Content(Value):
    """The JSON behind an event's `content`: what the event would have said itself."""

    messages: tuple[Message, ...]
    answer: str
    tools: tuple[JsonObject, ...] = Field(default=(), exclude_if=is_unset)


def characters_of(messages: Sequence[Message]) -> int:
    """Return how many characters messages hold, with those of the calls in them."""
    return sum(
        len(message.content) + (_of_calls(message.tool_calls) if message.tool_calls else 0)
        for message in messages
    )


def _of_calls(calls: Sequence[ToolCall]) -> int:
    return sum(len(call.id) + len(call.name) + len(call.arguments) + CALL for call in calls)


def fits_in_event(messages: Sequence[Message], answer: str, others: Sequence[str] = ()) -> bool:
    """Say whether an event can carry these itself, `others` being further texts in it.

    Encodes them only where their characters leave a doubt.
    """
    texts = [answer, *others]
    characters = sum(map(len, texts)) + characters_of(messages)
    if characters * ESCAPED_BYTES + len(messages) * FRAME_BYTES <= INLINE_BYTES:
        return True
    return characters <= INLINE_BYTES and len(to_json([messages, texts])) <= INLINE_BYTES


def store_content(
    blobs: BlobStore, messages: Sequence[Message], answer: str, tools: Sequence[JsonObject] = ()
) -> BlobRef:
    """Store what an event would have said; the same again is free. Blocks while it writes."""
    content = Content(messages=tuple(messages), answer=answer, tools=tuple(tools)).model_dump_json()
    return blobs.put_bytes(content.encode(), "content", ".json")


async def read_content(blobs: BlobStore, ref: BlobRef) -> Content:
    """Read them back. Raises BlobMissing where nothing complete is stored, BlobCorrupt where it was
    changed.
    """
    return Content.model_validate_json(await asyncio.to_thread(blobs.get_bytes, ref))


class Compared(Value):
    """The JSON behind `content` of two answers to compare."""

    messages: tuple[Message, ...]
    left: str
    right: str


def store_compared(
    blobs: BlobStore, messages: Sequence[Message], left: str, right: str
) -> BlobRef | None:
    """Store a question and two answers that no event can carry; None where one can."""
    if fits_in_event(messages, left, (right,)):
        return None
    compared = Compared(messages=tuple(messages), left=left, right=right)
    return blobs.put_bytes(compared.model_dump_json().encode(), "content", ".json")


async def read_compared(blobs: BlobStore, ref: BlobRef) -> Compared:
    """Read them back. Raises as `read_content` does."""
    return Compared.model_validate_json(await asyncio.to_thread(blobs.get_bytes, ref))

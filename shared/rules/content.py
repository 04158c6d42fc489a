"""What was asked and answered, stored beside an event where it is too large for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic_core import to_json

from schemas.base import BlobRef, Message, Value
from shared.storage import BlobStore

INLINE_BYTES = 256 * 1024  # of messages and answer, as JSON, that an event may carry itself
ESCAPED_BYTES = 6  # of a character in JSON, at most: \\u0001; others take up to 4 in UTF-8
FRAME_BYTES = 64  # of a message beside its content


class Content(Value):
    """The JSON behind an event's `content`: what the event would have said itself."""

    messages: tuple[Message, ...]
    answer: str


def fits_in_event(messages: Sequence[Message], answer: str, others: Sequence[str] = ()) -> bool:
    """Say whether an event can carry these itself, `others` being further answers in it.

    Encodes them only where their characters leave a doubt.
    """
    texts = [answer, *others]
    characters = sum(map(len, texts)) + sum(len(message.content) for message in messages)
    if characters * ESCAPED_BYTES + len(messages) * FRAME_BYTES <= INLINE_BYTES:
        return True
    return characters <= INLINE_BYTES and len(to_json([messages, texts])) <= INLINE_BYTES


def store_content(blobs: BlobStore, messages: Sequence[Message], answer: str) -> BlobRef:
    """Store messages and answer; storing the same again is free. Blocks while it writes."""
    content = to_json({"messages": list(messages), "answer": answer})
    return blobs.put_bytes(content, "content", ".json")


async def read_content(blobs: BlobStore, ref: BlobRef) -> Content:
    """Read them back. Raises BlobMissing where nothing complete is stored, BlobCorrupt where it was
    changed.
    """
    return Content.model_validate_json(await asyncio.to_thread(blobs.get_bytes, ref))

"""What was asked and answered, stored beside an event where it is too large for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic_core import to_json

from schemas.base import BlobRef, Message, Value
from shared.storage import BlobStore

INLINE_BYTES = 256 * 1024  # UTF-8 bytes of messages and answer that an event may carry itself


class Content(Value):
    """The JSON behind an event's `content`: what the event would have said itself."""

    messages: tuple[Message, ...]
    answer: str


def fits_in_event(messages: Sequence[Message], answer: str) -> bool:
    size = sum(len(message.content.encode()) for message in messages) + len(answer.encode())
    return size <= INLINE_BYTES


def store_content(blobs: BlobStore, messages: Sequence[Message], answer: str) -> BlobRef:
    """Store messages and answer; storing the same again is free. Blocks while it writes."""
    content = to_json({"messages": list(messages), "answer": answer})
    return blobs.put_bytes(content, "content", ".json")


async def read_content(blobs: BlobStore, ref: BlobRef) -> Content:
    """Read them back. Raises BlobMissing where nothing complete is stored, BlobCorrupt where it was
    changed.
    """
    return Content.model_validate_json(await asyncio.to_thread(blobs.get_bytes, ref))

"""Contents that were too large for an event, read from the artifact store when someone looks at
them.
"""

from __future__ import annotations

import asyncio

from schemas.base import Message, Value
from services.review.items import Asked
from shared.storage.blobs import BlobStore


class StoredContent(Value):
    """The JSON behind an inference's `content`: what the event would have said itself."""

    messages: tuple[Message, ...]
    answer: str


class BlobContents:
    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs

    async def complete(self, asked: Asked) -> Asked:
        if asked.content is None:
            return asked
        data = await asyncio.to_thread(self.blobs.get_bytes, asked.content)
        stored = StoredContent.model_validate_json(data)
        return asked.model_copy(update={"messages": stored.messages, "answer": stored.answer})

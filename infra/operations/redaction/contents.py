"""Content too large for an event. It is stored under its digest, so what is left of it has another
place, and whoever refers to it must be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from schemas.base import BlobRef, JsonObject
from shared.storage import BlobCorrupt, BlobMissing, BlobStore


class Contents:
    """Redacts each content once, however many refer to it; `write=False` only looks."""

    def __init__(self, url: str, *, write: bool) -> None:
        self.blobs = BlobStore(url)
        self.write = write
        # What was replaced, by its place, with what stands for it.
        self.moved: dict[str, JsonObject] = {}
        self.unreadable: set[str] = set()
        self._clean: set[str] = set()

    def redacted(self, ref: JsonObject, walk: Callable[[bytes], bytes]) -> JsonObject:
        """Return the reference to what is left of this content: the same one where nothing was
        found, or where it cannot be had.
        """
        uri = str(ref.get("uri"))
        if uri not in self.moved and uri not in self._clean:
            self._look(uri, ref, walk)
        return self.moved.get(uri, ref)

    def delete(self, uris: Iterable[str]) -> None:
        for uri in uris:
            self.blobs.delete_bytes(uri)

    def _look(self, uri: str, ref: JsonObject, walk: Callable[[bytes], bytes]) -> None:
        self._clean.add(uri)
        try:
            stored = self.blobs.get_bytes(BlobRef.model_validate(ref))
            kept = walk(stored)
        # ValueError: it is no reference, or no content.
        except (BlobMissing, BlobCorrupt, ValueError):
            self.unreadable.add(uri)
            return
        if kept != stored:
            self._clean.discard(uri)
            self.moved[uri] = self._stored(kept, uri)

    def _stored(self, kept: bytes, uri: str) -> JsonObject:
        # What is only looked for is counted by a reference that is another one.
        if not self.write:
            return {"uri": uri, "sha256": ""}
        suffix = Path(uri).suffix
        return self.blobs.put_bytes(kept, "content", suffix).model_dump()

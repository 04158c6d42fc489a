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
        # What stands for a content, by its place and by the kinds that a route leaves: two routes
        # may be asked the same.
        self._left: dict[tuple[str, frozenset[str]], JsonObject] = {}

    def redacted(
        self, ref: JsonObject, left: frozenset[str], walk: Callable[[bytes], bytes]
    ) -> JsonObject:
        """Return the reference to what is left of this content: the same one where nothing was
        found, or where it cannot be had.
        """
        uri = str(ref.get("uri"))
        if (uri, left) not in self._left:
            self._left[uri, left] = self._look(uri, ref, walk)
        return self._left[uri, left]

    @property
    def needed(self) -> set[str]:
        """Return the contents that are as a route wants them, whatever another one wants."""
        return {uri for (uri, _), ref in self._left.items() if str(ref.get("uri")) == uri}

    def delete(self, uris: Iterable[str]) -> None:
        for uri in uris:
            self.blobs.delete_bytes(uri)

    def _look(self, uri: str, ref: JsonObject, walk: Callable[[bytes], bytes]) -> JsonObject:
        try:
            stored = self.blobs.get_bytes(BlobRef.model_validate(ref))
            kept = walk(stored)
        # ValueError: it is no reference, or no content.
        except (BlobMissing, BlobCorrupt, ValueError):
            self.unreadable.add(uri)
            return ref
        if kept == stored:
            return ref
        self.moved[uri] = self._stored(kept, uri)
        return self.moved[uri]

    def _stored(self, kept: bytes, uri: str) -> JsonObject:
        # What is only looked for is counted by a reference that is another one.
        if not self.write:
            return {"uri": uri, "sha256": ""}
        suffix = Path(uri).suffix
        return self.blobs.put_bytes(kept, "content", suffix).model_dump()

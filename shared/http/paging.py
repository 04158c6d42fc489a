"""How every list over HTTP is read page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from schemas.base import JsonObject

Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]


def page(items: Sequence[JsonObject], offset: int, limit: int) -> JsonObject:
    """Return one page; `next` is the offset of the page after it, None when this is the last."""
    return {"items": items, "next": offset + limit if len(items) == limit else None}

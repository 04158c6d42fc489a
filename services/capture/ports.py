"""What capture needs from outside: a ledger that remembers each id once, and a place for large
contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schemas.base import BlobRef
from shared.events.rendering import Rendered


class Entry(NamedTuple):
    """Something to record once. `key` is the digest of tenant and client id; `public_id` is what
    the app gets back.
    """

    key: str
    public_id: str
    tenant: str
    route: str
    events: tuple[Rendered, ...]


class Kept(NamedTuple):
    public_id: str
    fresh: bool


@dataclass(frozen=True)
class Owner:
    tenant: str
    route: str


class Ledger(Protocol):
    async def room(self) -> None:
        """Raises when so much waits for the event log that no more may be taken."""

    async def record(self, entries: Sequence[Entry]) -> list[Kept]:
        """Durable on return. A key seen before keeps its first public id, and its events are not
        published again.
        """

    async def owners(self, public_ids: Sequence[str]) -> dict[str, Owner]: ...

    async def routes(self, tenant: str) -> set[str]: ...


class Contents(Protocol):
    def put_bytes(self, data: bytes, kind: str, suffix: str = "") -> BlobRef: ...

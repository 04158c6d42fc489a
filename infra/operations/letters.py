"""Dead letters: what a service could not digest, from the table it keeps them in."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, select

from infra.operations.books import Book, Books
from infra.operations.names import check_service, find_topic
from schemas.base import JsonObject
from schemas.topics import SERVICES
from shared.clock import utc
from shared.events import DEAD_LETTERED, DROPPED, HANDLED

OPEN = "open"
REPLAYED = "replayed"
FORGOTTEN = "forgotten"
STATES = {DEAD_LETTERED: OPEN, HANDLED: REPLAYED, DROPPED: DROPPED}
# What `ratchet dlq show` says in so many words, or not at all.
NOT_IN_JSON = {"key", "body", "headers"}


@dataclass(frozen=True)
class Letter:
    """One event that one service dead-lettered, as it failed last.

    `body` is None for a tombstone, and where it is not kept. `times` counts its failures.
    """

    service: str
    topic: str
    event_id: str
    state: str
    key: bytes | None
    body: bytes | None
    body_is_kept: bool
    headers: Mapping[str, str]
    partition: int | None
    offset: int | None
    cause: str
    error_type: str
    error: str
    attempts: int
    failed_at: datetime
    times: int = 1

    def as_json(self) -> JsonObject:
        shown = {name: value for name, value in vars(self).items() if name not in NOT_IN_JSON}
        return shown | {"failed_at": self.failed_at.isoformat(), "bytes": len(self.body or b"")}


@dataclass(frozen=True)
class Wanted:
    """Filters; what is None or empty lets everything through. `ids` are prefixes."""

    service: str | None = None
    topic: str | None = None
    error: str | None = None
    ids: tuple[str, ...] = ()
    since: datetime | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        if self.service is not None:
            check_service(self.service)

    @property
    def everything(self) -> bool:
        return not (self.service or self.topic or self.error or self.ids or self.since)

    def takes(self, letter: Letter) -> bool:
        return (
            self.topic in (None, letter.topic)
            and (self.error is None or letter.error_type.lower() == self.error.lower())
            and (not self.ids or letter.event_id.startswith(self.ids))
            and (self.since is None or letter.failed_at >= self.since)
            and self.state in (None, letter.state)
        )


async def gather(books: Books, wanted: Wanted) -> list[Letter]:
    """Return the wanted letters, oldest first. Raises TopicUnknown where nobody has any of a topic
    that is not ours: capture reads apps' own, too.
    """
    found: list[Letter] = []
    for book in books.of([wanted.service] if wanted.service else SERVICES):
        found += await letters_of(book)
    if wanted.topic is not None and wanted.topic not in {letter.topic for letter in found}:
        find_topic(wanted.topic)
    return sorted(filter(wanted.takes, found), key=lambda letter: letter.failed_at)


async def letters_of(book: Book) -> Collection[Letter]:
    """Return one letter per event, with its newest failure."""
    letters = book.dead_letters
    inbox = book.inbox
    same = and_(inbox.c.topic == letters.c.topic, inbox.c.event_id == letters.c.event_id)
    rows = (
        select(letters, inbox.c.outcome)
        .join_from(letters, inbox, same, isouter=True)
        .order_by(letters.c.seq)
    )
    found: dict[tuple[str, str], Letter] = {}
    async for row in book.rows(rows):
        event = (row.topic, row.event_id)
        found[event] = letter_of(book.service, row, found[event].times + 1 if event in found else 1)
    return found.values()


def letter_of(service: str, row: Row[Any], times: int) -> Letter:
    return Letter(
        service=service,
        topic=row.topic,
        event_id=row.event_id,
        state=STATES.get(row.outcome, FORGOTTEN),
        key=row.key,
        body=row.body,
        body_is_kept=row.body_is_kept,
        headers=json.loads(row.headers),
        partition=row.log_partition,
        offset=row.log_offset,
        cause=row.cause,
        error_type=row.error_type,
        error=row.error,
        attempts=row.attempts,
        failed_at=utc(row.failed_at),
        times=times,
    )

"""Dead letters: what a service could not digest, from its DLQ topic, from its outbox where the
topic forgot it, and its inbox's word on each.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from infra.operations.books import Book, Books
from infra.operations.log import Survey, records
from infra.operations.moments import moment
from schemas.topics import SERVICES, TOPICS, dead_letter_topic
from shared.clock import utc
from shared.errors import Invalid
from shared.events.outbox import DEAD_LETTERED, DROPPED, HANDLED

OPEN = "open"
REPLAYED = "replayed"
FORGOTTEN = "forgotten"
STATES = {DEAD_LETTERED: OPEN, HANDLED: REPLAYED, DROPPED: DROPPED}
# outbox.type
LETTER = "dead-letter"
NOTE = "dead-letter-dropped"
ADDED = {
    "x-origin-topic",
    "x-origin-partition",
    "x-origin-offset",
    "x-origin-key",
    "x-attempts",
    "x-error-type",
    "x-error",
    "x-failed-at",
    "x-replay",
}


@dataclass(frozen=True)
class Letter:
    """One event that one service dead-lettered, as it failed last. `body` is None for a tombstone,
    and where only the inbox still knows of it.
    """

    service: str
    event_id: str
    headers: Mapping[str, str]
    body: bytes | None
    kept_in: str  # topic, outbox, inbox
    state: str = OPEN
    times: int = 1

    @property
    def topic(self) -> str:
        return self.headers["x-origin-topic"]

    @property
    def partition(self) -> int:
        return int(self.headers.get("x-origin-partition", -1))

    @property
    def offset(self) -> int:
        return int(self.headers.get("x-origin-offset", -1))

    @property
    def key(self) -> bytes | None:
        found = self.headers.get("x-origin-key")
        return None if found is None else bytes.fromhex(found)

    @property
    def error_type(self) -> str:
        return self.headers.get("x-error-type", "unknown")

    @property
    def error(self) -> str:
        return self.headers.get("x-error", "")

    @property
    def failed_at(self) -> datetime | None:
        found = self.headers.get("x-failed-at")
        return moment(found) if found else None

    @property
    def name(self) -> tuple[str, str, str]:
        return self.service, self.topic, self.event_id

    @property
    def original_headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name not in ADDED}

    def as_json(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "topic": self.topic,
            "event_id": self.event_id,
            "state": self.state,
            "error_type": self.error_type,
            "error": self.error,
            "attempts": self.headers.get("x-attempts"),
            "failed_at": self.headers.get("x-failed-at"),
            "times": self.times,
            "partition": self.partition,
            "offset": self.offset,
            "kept_in": self.kept_in,
            "bytes": len(self.body or b""),
        }


class ServiceUnknown(Invalid):
    def __init__(self, service: str) -> None:
        super().__init__(f"there is no service '{service}': choose from {', '.join(SERVICES)}")


class TopicUnknown(Invalid):
    def __init__(self, topic: str) -> None:
        super().__init__(
            f"no event travels on '{topic}': choose from"
            f" {', '.join(topic.name for topic in TOPICS)}"
        )


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
        if self.service is not None and self.service not in SERVICES:
            raise ServiceUnknown(self.service)
        if self.topic is not None and self.topic not in {topic.name for topic in TOPICS}:
            raise TopicUnknown(self.topic)

    @property
    def everything(self) -> bool:
        return not (self.service or self.topic or self.error or self.ids or self.since)

    @property
    def services(self) -> tuple[str, ...]:
        return (self.service,) if self.service else SERVICES

    def takes(self, letter: Letter) -> bool:
        return (
            self.topic in (None, letter.topic)
            and (self.error is None or letter.error_type.lower() == self.error.lower())
            and (not self.ids or letter.event_id.startswith(self.ids))
            and (
                self.since is None
                or (letter.failed_at is not None and letter.failed_at >= self.since)
            )
            and self.state in (None, letter.state)
        )


async def gather(
    books: Books, servers: str | None, wanted: Wanted, seen: Survey | None
) -> list[Letter]:
    """The wanted letters, oldest first. `seen`: the DLQ topics' spans, or None while the event log
    is away.
    """
    found: list[Letter] = []
    for book in books.of(wanted.services):
        failures = [letter async for letter in from_outbox(book)]
        if servers is not None and seen is not None:
            failures += [letter async for letter in from_topic(servers, book.service, seen)]
        known = {letter.name for letter in failures}
        failures += [letter async for letter in from_inbox(book) if letter.name not in known]
        found += await with_states(book, newest(failures))
    return sorted(filter(wanted.takes, found), key=failed)


def newest(failures: Iterable[Letter]) -> list[Letter]:
    """One letter per event, its newest failure. The topic's copy of a failure that the outbox keeps
    is the same failure.
    """
    events: dict[tuple[str, str, str], dict[str, Letter]] = {}
    for letter in failures:
        events.setdefault(letter.name, {}).setdefault(failed(letter)[0], letter)
    return [replace(times[max(times)], times=len(times)) for times in events.values()]


def failed(letter: Letter) -> tuple[str, str]:
    return letter.headers.get("x-failed-at", ""), letter.event_id


async def from_outbox(book: Book) -> AsyncIterator[Letter]:
    table = book.outbox
    columns = select(table.c.id, table.c.payload, table.c.headers)
    rows = columns.where(
        table.c.aggregatetype == dead_letter_topic(book.service), table.c.type == LETTER
    ).order_by(table.c.seq)
    async for event_id, payload, headers in book.rows(rows):
        yield Letter(book.service, event_id, json.loads(headers), payload, "outbox")


async def from_topic(servers: str, service: str, seen: Survey) -> AsyncIterator[Letter]:
    async for record in records(servers, seen.of(dead_letter_topic(service))):
        headers = {name: value.decode("utf-8", "replace") for name, value in record.headers or ()}
        if "x-origin-topic" in headers and "id" in headers:  # else a note that one was dropped
            yield Letter(service, headers["id"], headers, record.value, "topic")


async def from_inbox(book: Book) -> AsyncIterator[Letter]:
    """Dead letters whose bytes may be nowhere else any more: their place in the origin topic is all
    that is known.
    """
    table = book.inbox
    async for row in book.rows(select(table).where(table.c.outcome == DEAD_LETTERED)):
        place = {"x-origin-partition": row.log_partition, "x-origin-offset": row.log_offset}
        known = {name: str(value) for name, value in place.items() if value is not None}
        headers = {
            "x-origin-topic": row.topic,
            "x-failed-at": utc(row.received_at).isoformat(),
            **known,
        }
        yield Letter(book.service, row.event_id, headers, None, "inbox")


async def with_states(book: Book, letters: Iterable[Letter]) -> list[Letter]:
    by_topic: dict[str, list[Letter]] = {}
    for letter in letters:
        by_topic.setdefault(letter.topic, []).append(letter)
    found = []
    for topic, some in by_topic.items():
        rows = await book.outcomes(topic, [letter.event_id for letter in some])
        found += [
            replace(
                letter,
                state=(
                    STATES.get(rows[letter.event_id].outcome, FORGOTTEN)
                    if letter.event_id in rows
                    else FORGOTTEN
                ),
            )
            for letter in some
        ]
    return found

"""Follows one event: who accepted it, where it stands, what each consumer did, what followed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select

from infra.operations.accounts import is_unread
from infra.operations.books import Book, Books
from infra.operations.log import Survey, every_group, record_at, survey_if_there
from infra.operations.moments import born
from schemas.base import JsonObject
from schemas.topics import SERVICES, TOPICS, Topic, consumed_by
from shared.clock import utc
from shared.errors import NotFound
from shared.events import DEAD_LETTER, Partition, event_id_of

# Events of one outbox, and followers of an event, that are shown.
MOST_SHOWN = 20
IDENTITIES = (
    "inference_id",
    "feedback_id",
    "review_id",
    "drift_id",
    "dataset_id",
    "job_id",
    "evaluation_id",
    "calibration_id",
)


class EventUnknown(NotFound):
    def __init__(self, wanted: str, keep_hours: float) -> None:
        super().__init__(
            f"no outbox and no inbox knows '{wanted[:200]}': sent events are kept for"
            f" {keep_hours:g} hours, digested ids for 30 days"
        )


async def trace(
    books: Books, servers: str | None, wanted: str, keep_hours: float
) -> list[JsonObject]:
    """Follow the event of this id; for an inference's id, every kept event that speaks of it."""
    log = await survey_if_there(servers, [topic.name for topic in TOPICS], every_group())
    found = [await way_of(books, servers, event_id, log) for event_id in await named(books, wanted)]
    if not found:
        raise EventUnknown(wanted, keep_hours)
    return found


@dataclass(frozen=True)
class Kept:
    """An event as an outbox keeps it; `sent_at` and its place once the log has it."""

    service: str
    event_id: str
    topic: str
    type: str
    payload: bytes | None
    created_at: datetime
    sent_at: datetime | None
    partition: int | None
    offset: int | None


async def kept_events(book: Book, *where: ColumnElement[bool], limit: int) -> AsyncIterator[Kept]:
    """Yield the events of an outbox that are no dead letters, in the order of their writing."""
    table = book.outbox
    wanted = select(table).where(table.c.type != DEAD_LETTER, *where).order_by(table.c.seq)
    async for row in book.rows(wanted.limit(limit)):
        yield Kept(
            service=book.service,
            event_id=row.id,
            topic=row.aggregatetype,
            type=row.type,
            payload=row.payload,
            created_at=utc(row.created_at),
            sent_at=utc(row.sent_at) if row.sent_at else None,
            partition=row.log_partition,
            offset=row.log_offset,
        )


async def kept_as(books: Books, event_id: str) -> list[Kept]:
    return [
        kept
        for book in books.open.values()
        async for kept in kept_events(book, book.outbox.c.id == event_id, limit=MOST_SHOWN)
    ]


async def named(books: Books, wanted: str) -> list[str]:
    """Return the ids of the events that `wanted` names, itself or by what they speak of."""
    if await kept_as(books, wanted):
        return [wanted]
    # Its outbox row may be gone while consumers still know it.
    for book in books.open.values():
        for topic in consumed_by(book.service):
            if await book.seen(topic.name, wanted):
                return [wanted]
    spoken = [
        (kept.created_at, kept.event_id)
        for book in books.open.values()
        async for kept in speaking_of(book, {wanted})
    ]
    return list(dict.fromkeys(event_id for _, event_id in sorted(spoken)))


async def speaking_of(book: Book, identities: set[str]) -> AsyncIterator[Kept]:
    """Yield published events whose body holds one of these ids, as a quoted string."""
    payload = book.outbox.c.payload
    holds = [
        book.db.dialect.contains(payload, f'"{identity}"'.encode())
        for identity in sorted(identities)
    ]
    async for kept in kept_events(book, or_(*holds), limit=MOST_SHOWN):
        yield kept


async def way_of(
    books: Books, servers: str | None, event_id: str, log: Survey | None
) -> JsonObject:
    accepted = await kept_as(books, event_id)
    event = accepted[0] if accepted else None
    topics = await topics_of(books, event_id, event)
    made_at = born(event_id)
    return {
        "event_id": event_id,
        "id_made_at": made_at and made_at.isoformat(),
        "topic": topics[0].name if topics else None,
        "type": event.type if event else None,
        "accepted": [
            {"service": kept.service, "at": kept.created_at.isoformat()} for kept in accepted
        ],
        "published": await published(servers, event, log) if event else None,
        "consumers": [
            await consumed(books, service, topic, event_id, event, log)
            for topic in topics
            for service in topic.consumers
        ],
        "followed": await followers(books, event) if event else [],
    }


async def topics_of(books: Books, event_id: str, event: Kept | None) -> list[Topic]:
    """Return the topic of a kept event; without one, the topics on which consumers saw its id."""
    if event and (known := [topic for topic in TOPICS if topic.name == event.topic]):
        return known
    return [
        topic
        for topic in TOPICS
        if any([await book.seen(topic.name, event_id) for book in books.of(topic.consumers)])
    ]


async def published(servers: str | None, event: Kept, log: Survey | None) -> JsonObject:
    """Say where it was published; `on_log` is None while the event log is away."""
    if event.sent_at is None:
        return {"state": "pending"}
    place: JsonObject = {
        "state": "published",
        "at": event.sent_at.isoformat(),
        "partition": event.partition,
        "offset": event.offset,
        "on_log": None,
    }
    if servers is None or log is None or event.partition is None or event.offset is None:
        return place
    record = await record_at(servers, Partition(event.topic, event.partition), event.offset)
    return place | {"on_log": record is not None and event_id_of(record) == event.event_id}


async def consumed(
    books: Books,
    service: str,
    topic: Topic,
    event_id: str,
    event: Kept | None,
    log: Survey | None,
) -> JsonObject:
    if service not in books.open:
        return {"service": service, "state": "not seen", "why": "it never stored anything"}
    book = books.open[service]
    seen = await book.seen(topic.name, event_id)
    if seen is None:
        return {"service": service, "state": state_unseen(event, topic, service, log)}
    facts: JsonObject = {
        "service": service,
        "state": seen.outcome,
        "at": seen.at.isoformat(),
        "partition": seen.partition,
        "offset": seen.offset,
    }
    failed = await book.newest_failure(topic.name, event_id)
    return facts | (vars(failed) if failed else {})


def state_unseen(event: Kept | None, topic: Topic, service: str, log: Survey | None) -> str:
    """Name the state of an event at a consumer whose inbox does not hold it."""
    if event is None or (event.sent_at is not None and log is None):
        return "not seen"
    if event.sent_at is None or log is None:
        return "pending"
    committed = log.committed.get(f"{service}.{topic.name}", {})
    if is_unread(event.partition, event.offset, log.spans, topic.name, committed):
        return "pending"
    return "not seen; superseded by a newer state of its key?" if topic.compacted else "LOST"


async def followers(books: Books, event: Kept) -> list[JsonObject]:
    """Return later events whose bodies hold an id of this one's: an inference's verdict, say."""
    identities = identities_of(event.payload)
    if not identities:
        return []
    later = [
        other
        for book in books.of(SERVICES)
        async for other in speaking_of(book, identities)
        if other.event_id != event.event_id and other.created_at >= event.created_at
    ]
    later.sort(key=lambda other: other.created_at)
    return [
        {
            "event_id": other.event_id,
            "type": other.type,
            "topic": other.topic,
            "service": other.service,
            "at": other.created_at.isoformat(),
        }
        for other in later[:MOST_SHOWN]
    ]


def identities_of(payload: bytes | None) -> set[str]:
    try:
        body = json.loads(payload or b"{}")
    except ValueError:
        return set()
    adapter = body.get("adapter") or {}
    return {
        str(found)
        for found in (*(body.get(name) for name in IDENTITIES), adapter.get("adapter_id"))
        if found
    }

"""One event's way: accepted by whom and when, published where, what each consumer did with it, and
what followed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Row,
    Table,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
)

from infra.operations.accounts import unread
from infra.operations.books import Book, Books
from infra.operations.letters import LETTER
from infra.operations.log import Survey, every_group, record_at, survey_if_there
from infra.operations.moments import born
from schemas.topics import SERVICES, TOPICS, Topic, consumed_by, dead_letter_topic
from shared.clock import utc
from shared.errors import NotFound
from shared.events.log_guard import Partition, event_id_of

MOST_FOLLOWERS = 20
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
) -> list[dict[str, Any]]:
    """The event of this id; or, for an inference's id, every kept event that speaks of it."""
    seen = await survey_if_there(servers, [topic.name for topic in TOPICS], every_group())
    found = [await one(books, servers, event_id, seen) for event_id in await named(books, wanted)]
    if not found:
        raise EventUnknown(wanted, keep_hours)
    return found


async def named(books: Books, wanted: str) -> list[str]:
    for book in books.open.values():
        table = book.outbox
        async for _ in book.rows(
            select(table.c.seq).where(table.c.id == wanted, table.c.type != LETTER).limit(1)
        ):
            return [wanted]
    for book in books.open.values():  # its outbox row may be gone while consumers still know it
        for topic in consumed_by(book.service):
            if await book.outcomes(topic.name, [wanted]):
                return [wanted]
    spoken = [
        (row.created_at, row.id)
        for book in books.open.values()
        async for row in speaking_of(book, {wanted})
    ]
    return list(dict.fromkeys(event_id for _, event_id in sorted(spoken)))


async def speaking_of(book: Book, identities: set[str]) -> AsyncIterator[Row]:
    """Published events whose body holds one of these ids, as a quoted string."""
    table = book.outbox
    columns = select(table.c.id, table.c.aggregatetype, table.c.type, table.c.created_at)
    holds = or_(
        *(contains(book, table, f'"{identity}"'.encode()) for identity in sorted(identities))
    )
    async for row in book.rows(
        columns.where(holds, table.c.type != LETTER).order_by(table.c.seq).limit(MOST_FOLLOWERS)
    ):
        yield row


def contains(book: Book, table: Table, needle: bytes) -> ColumnElement[bool]:
    part = literal(needle, LargeBinary)
    if book.db.is_sqlite:
        return func.instr(table.c.payload, part) > 0
    return (
        func.strpos(
            func.encode(table.c.payload, "hex"), func.encode(cast(part, LargeBinary), "hex")
        )
        > 0
    )


async def one(
    books: Books, servers: str | None, event_id: str, seen: Survey | None
) -> dict[str, Any]:
    accepted = [
        (book, row) for book in books.open.values() async for row in accepted_rows(book, event_id)
    ]
    topic = next(
        (topic for topic in TOPICS if accepted and topic.name == accepted[0][1].aggregatetype), None
    )
    row = accepted[0][1] if accepted else None
    heard = (
        [topic]
        if topic
        else [topic for topic in TOPICS if await seen_by_any(books, topic, event_id)]
    )
    at = born(event_id)
    return {
        "event_id": event_id,
        "id_made_at": at and at.isoformat(),
        "topic": heard[0].name if heard else None,
        "type": row.type if row else None,
        "accepted": [
            {"service": book.service, "at": utc(row.created_at).isoformat()}
            for book, row in accepted
        ],
        "published": await published(servers, row, seen) if row else None,
        "consumers": [
            await consumed(books, service, topic, event_id, row, seen)
            for topic in heard
            for service in topic.consumers
        ],
        "followed": await followers(books, row) if row else [],
    }


async def accepted_rows(book: Book, event_id: str) -> AsyncIterator[Row]:
    table = book.outbox
    async for row in book.rows(
        select(table).where(table.c.id == event_id, table.c.type != LETTER).order_by(table.c.seq)
    ):
        yield row


async def seen_by_any(books: Books, topic: Topic, event_id: str) -> bool:
    return any([await book.outcomes(topic.name, [event_id]) for book in books.of(topic.consumers)])


async def published(servers: str | None, row: Row, seen: Survey | None) -> dict[str, Any]:
    """`on_log`: whether that very event stands there now; None while the event log is away."""
    if row.sent_at is None:
        return {"state": "pending"}
    place = {
        "state": "published",
        "at": utc(row.sent_at).isoformat(),
        "partition": row.log_partition,
        "offset": row.log_offset,
        "on_log": None,
    }
    if servers is None or seen is None or row.log_partition is None:
        return place
    record = await record_at(
        servers, Partition(row.aggregatetype, row.log_partition), row.log_offset
    )
    return place | {"on_log": record is not None and event_id_of(record) == row.id}


async def consumed(
    books: Books, service: str, topic: Topic, event_id: str, row: Row | None, seen: Survey | None
) -> dict[str, Any]:
    if service not in books.open:
        return {"service": service, "state": "not seen", "why": "it never stored anything"}
    book = books.open[service]
    known = (await book.outcomes(topic.name, [event_id])).get(event_id)
    if known is None:
        return {"service": service, "state": on_its_way(row, topic, service, seen)}
    facts = {
        "service": service,
        "state": known.outcome,
        "at": utc(known.received_at).isoformat(),
        "partition": known.log_partition,
        "offset": known.log_offset,
    }
    return facts | await why(book, event_id)


def on_its_way(row: Row | None, topic: Topic, service: str, seen: Survey | None) -> str:
    if row is None or (row.sent_at is not None and seen is None):
        return "not seen"
    if row.sent_at is None or unread(
        row,
        seen.spans if seen else {},
        topic.name,
        (seen.committed if seen else {}).get(f"{service}.{topic.name}", {}),
    ):
        return "pending"
    return "not seen; superseded by a newer state of its key?" if topic.compacted else "LOST"


async def why(book: Book, event_id: str) -> dict[str, Any]:
    table = book.outbox
    mine = and_(
        table.c.id == event_id,
        table.c.aggregatetype == dead_letter_topic(book.service),
        table.c.type == LETTER,
    )
    async for (headers,) in book.rows(
        select(table.c.headers).where(mine).order_by(table.c.seq.desc()).limit(1)
    ):
        found: Mapping[str, str] = json.loads(headers)
        return {
            "error_type": found.get("x-error-type"),
            "error": found.get("x-error"),
            "failed_at": found.get("x-failed-at"),
        }
    return {}


async def followers(books: Books, row: Row) -> list[dict[str, Any]]:
    """Kept events, later than this one, whose bodies hold an id of this one's: an inference's
    verdict, a dataset's adapter.
    """
    identities = identities_of(row.payload)
    if not identities:
        return []
    later = [
        (utc(other.created_at), book.service, other)
        for book in books.of(SERVICES)
        async for other in speaking_of(book, identities)
        if other.id != row.id and utc(other.created_at) >= utc(row.created_at)
    ]
    later.sort(key=lambda found: found[0])
    return [
        {
            "event_id": other.id,
            "type": other.type,
            "topic": other.aggregatetype,
            "service": service,
            "at": at.isoformat(),
        }
        for at, service, other in later[:MOST_FOLLOWERS]
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

"""What an operator does with dead letters: give them to their service once more, or drop them."""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import AIOKafkaProducer
from sqlalchemy import and_, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.operations.books import Book, Books
from infra.operations.letters import Letter
from infra.operations.log import publishing
from schemas.base import uuid7
from schemas.topics import dead_letter_topic, is_ours
from shared.clock import now
from shared.events import DEAD_LETTERED, DROPPED, REPLAYED_ID, Place

POLL_SECONDS = 0.25
AGAIN = "dead-lettered again"
PENDING = "pending"
SETTLED = "settled meanwhile"
NO_BYTES = "bytes gone"
# The outbox's type of what tells the DLQ topic that a letter was dropped.
NOTE = "dead-letter-dropped"


@dataclass(frozen=True)
class Outcome:
    """What came of a letter: handled, one of the words above, or dropped; and why."""

    letter: Letter
    outcome: str
    why: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "service": self.letter.service,
            "topic": self.letter.topic,
            "event_id": self.letter.event_id,
            "outcome": self.outcome,
            "why": self.why,
        }


async def replay(
    books: Books, servers: str, letters: Sequence[Letter], seconds: float
) -> list[Outcome]:
    """Publish the original bytes, key and headers to the topic that each letter came on.

    Then watch the inboxes until every letter has an end, or `seconds` are over.
    """
    kept = [letter for letter in letters if letter.body_is_kept]
    ends = [
        Outcome(letter, NO_BYTES, "its body is on the DLQ topic alone, or gone")
        for letter in letters
        if not letter.body_is_kept
    ]
    async with publishing(servers) as producer:
        sent = [(letter, await publish(producer, letter)) for letter in kept]
    waiting = [(letter, await place) for letter, place in sent]
    deadline = time.monotonic() + seconds
    while waiting:
        found = [await end_of(books.open[letter.service], letter, at) for letter, at in waiting]
        ends += [end for end in found if end]
        waiting = [one for one, end in zip(waiting, found, strict=True) if end is None]
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_SECONDS if waiting else 0)
    return ends + [
        Outcome(letter, PENDING, f"published at {letter.topic}/{at.partition}/{at.offset}")
        for letter, at in waiting
    ]


async def publish(producer: AIOKafkaProducer, letter: Letter) -> Awaitable[Place]:
    """Send a letter to the partition it came from, where it meets the events of its key.

    Where that partition is no more, its key chooses one. Return what becomes its new place.
    """
    headers = {"id": letter.event_id} | dict(letter.headers) | {"x-replay": letter.service}
    if not is_ours(letter.topic):
        headers[REPLAYED_ID] = letter.event_id
    partitions = await producer.partitions_for(letter.topic)
    place: Awaitable[Place] = await producer.send(
        letter.topic,
        letter.body,
        key=letter.key,
        headers=[(name, value.encode()) for name, value in headers.items()],
        partition=letter.partition if letter.partition in partitions else None,
    )
    return place


async def end_of(book: Book, letter: Letter, place: Place) -> Outcome | None:
    """Say what came of a letter that was published at `place`; None while it was not read there.

    The inbox says where its service read an event last, also one that it could not digest again.
    """
    seen = await book.seen(letter.topic, letter.event_id)
    if seen is None:
        return None
    if seen.outcome != DEAD_LETTERED:
        return Outcome(letter, seen.outcome)
    if (seen.partition, seen.offset) != (place.partition, place.offset):
        return None
    failed = await book.newest_failure(letter.topic, letter.event_id)
    return Outcome(letter, AGAIN, f"{failed.error_type}: {failed.error}" if failed else "")


async def drop(books: Books, letters: Iterable[Letter], because: str) -> list[Outcome]:
    return [await drop_one(books.open[letter.service], letter, because) for letter in letters]


async def drop_one(book: Book, letter: Letter, because: str) -> Outcome:
    """Mark a letter as dropped in the inbox, and leave a note of who said so and why.

    Both commit together; the relay carries the note to the DLQ topic
    (docs/decisions/0016-dropped-letters-leave-a-note.md).
    """
    inbox = book.inbox
    this = and_(
        inbox.c.topic == letter.topic,
        inbox.c.event_id == letter.event_id,
        inbox.c.outcome == DEAD_LETTERED,
    )
    async with book.db.transaction() as tx:
        if (await tx.execute(update(inbox).where(this).values(outcome=DROPPED))).rowcount != 1:
            return Outcome(letter, SETTLED, "it is not open any more")
        await leave_note(tx, book, letter, because)
    return Outcome(letter, DROPPED, because)


class Dropped(Protocol):
    """What a note says of an event that was dropped."""

    @property
    def topic(self) -> str: ...
    @property
    def event_id(self) -> str: ...


async def leave_note(
    tx: AsyncConnection, book: Book, event: Dropped, because: str, **more: str
) -> None:
    """Tell the DLQ topic, once the transaction commits, who dropped an event and why."""
    note = {
        "x-dropped-id": event.event_id,
        "x-dropped-topic": event.topic,
        "x-dropped-because": because,
        "x-dropped-by": f"{getpass.getuser()}@{socket.gethostname()}",
        "x-dropped-at": now().isoformat(),
    } | {f"x-{name.replace('_', '-')}": value for name, value in more.items()}
    await tx.execute(
        insert(book.outbox).values(
            id=uuid7(),
            aggregatetype=dead_letter_topic(book.service),
            aggregateid=event.event_id,
            type=NOTE,
            payload=None,
            headers=json.dumps(note),
            created_at=now(),
        )
    )

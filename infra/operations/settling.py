"""What an operator does with dead letters: give them to their service once more, or drop them for a
stated reason.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from sqlalchemy import and_, insert, select, update

from infra.operations.books import Book, Books
from infra.operations.letters import LETTER, NOTE, Letter
from infra.operations.log import publishing
from schemas.base import uuid7
from schemas.topics import dead_letter_topic
from shared.clock import now
from shared.events.outbox import DEAD_LETTERED, DROPPED, Place

POLL_SECONDS = 0.25
AGAIN = "dead-lettered again"
PENDING = "pending"
SETTLED = "settled meanwhile"
NO_BYTES = "bytes gone"


@dataclass(frozen=True)
class Outcome:
    """What came of a letter: handled, dead-lettered again (and why), pending, or nothing was
    done.
    """

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
    """Publish the original bytes, key and headers to the origin topic; then watch the inboxes until
    each has an end or time is up.
    """
    done = [
        Outcome(letter, NO_BYTES, "only its place in the origin topic is known")
        for letter in letters
        if letter.kept_in == "inbox"
    ]
    async with publishing(servers) as producer:
        sent = [
            (letter, await publish(producer, letter))
            for letter in letters
            if letter.kept_in != "inbox"
        ]
    waiting = {letter.name: (letter, await place) for letter, place in sent}
    deadline = time.monotonic() + seconds
    while waiting:
        ended = await endings(books, waiting.values())
        done += ended
        for outcome in ended:
            del waiting[outcome.letter.name]
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_SECONDS if waiting else 0)
    return done + [
        Outcome(letter, PENDING, f"published at {letter.topic}/{at.partition}/{at.offset}")
        for letter, at in waiting.values()
    ]


async def publish(producer: AIOKafkaProducer, letter: Letter) -> Awaitable[Place]:
    """Where it came from, so that it meets the events of its key in the same partition; by its key
    where that partition is no more.
    """
    headers = [
        (name, value.encode())
        for name, value in (
            {"id": letter.event_id} | letter.original_headers | {"x-replay": letter.service}
        ).items()
    ]
    partition = (
        letter.partition
        if letter.partition in await producer.partitions_for(letter.topic)
        else None
    )
    return await producer.send(
        letter.topic, letter.body, key=letter.key, headers=headers, partition=partition
    )


async def endings(books: Books, waiting: Iterable[tuple[Letter, Place]]) -> list[Outcome]:
    """Of those that their service has come to. The inbox says where it read an event last, also one
    that it could not digest again.
    """
    by_topic: dict[tuple[str, str], list[tuple[Letter, Place]]] = {}
    for letter, place in waiting:
        by_topic.setdefault((letter.service, letter.topic), []).append((letter, place))
    found = []
    for (service, topic), some in by_topic.items():
        book = books.open[service]
        rows = await book.outcomes(topic, [letter.event_id for letter, _ in some])
        found += [
            await ending(book, letter, place, rows[letter.event_id])
            for letter, place in some
            if letter.event_id in rows
        ]
    return [outcome for outcome in found if outcome]


async def ending(book: Book, letter: Letter, place: Place, row: Any) -> Outcome | None:
    if row.outcome != DEAD_LETTERED:
        return Outcome(letter, row.outcome)
    if (row.log_partition, row.log_offset) != (place.partition, place.offset):
        return None
    return Outcome(letter, AGAIN, await newest_error(book, letter))


async def newest_error(book: Book, letter: Letter) -> str:
    table = book.outbox
    same = and_(
        table.c.id == letter.event_id,
        table.c.aggregatetype == dead_letter_topic(book.service),
        table.c.type == LETTER,
    )
    async for (headers,) in book.rows(
        select(table.c.headers).where(same).order_by(table.c.seq.desc()).limit(1)
    ):
        found = json.loads(headers)
        return f"{found.get('x-error-type')}: {found.get('x-error')}"
    return ""


async def drop(books: Books, letters: Iterable[Letter], because: str) -> list[Outcome]:
    return [await drop_one(books.open[letter.service], letter, because) for letter in letters]


async def drop_one(book: Book, letter: Letter, because: str) -> Outcome:
    """The inbox's word and the note of who said so and why commit together; the relay carries the
    note to the DLQ topic (decision 0016).
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
        await tx.execute(
            insert(book.outbox).values(
                id=uuid7(),
                aggregatetype=dead_letter_topic(book.service),
                aggregateid=letter.event_id,
                type=NOTE,
                payload=None,
                headers=json.dumps(note(letter, because)),
                created_at=now(),
            )
        )
    return Outcome(letter, DROPPED, because)


def note(letter: Letter, because: str) -> dict[str, str]:
    return {
        "x-dropped-id": letter.event_id,
        "x-dropped-topic": letter.topic,
        "x-dropped-because": because,
        "x-dropped-by": f"{getpass.getuser()}@{socket.gethostname()}",
        "x-dropped-at": now().isoformat(),
    }

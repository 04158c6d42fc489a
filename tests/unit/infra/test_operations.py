"""The operator's tools without a broker: what is counted, and what is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import (
    MetaData,
    insert,
)

from infra.operations.accounts import Account
from infra.operations.books import Book, Books, NoBooks, open_books
from infra.operations.letters import Letter, Wanted, gather, letters_of
from infra.operations.log import Span, Survey
from infra.operations.moments import NoMoment, born, moment
from infra.operations.names import ServiceUnknown, TopicUnknown
from infra.operations.reconcile import TopicLedger, silent
from infra.operations.rewind import NoSuchPlace, start_of
from infra.operations.trace import named, speaking_of
from schemas.base import uuid7
from schemas.topics import DATASET_BUILT, ROUTE_CHANGED, Topic
from shared.clock import now
from shared.events.log_guard import Partition
from shared.events.tables import EventTables, event_tables
from shared.storage.db import Database
from tests import factories

READS = ["inference-recorded", "feedback-recorded", "route-changed"]


def book_of(service: str, db: Database, tables: EventTables) -> Book:
    return Book(service, db, tables.inbox, tables.outbox, tables.dead_letters, tables.pauses)


class Ledgers:
    """Two services' databases with hand-made inboxes and outboxes, and a log that is only told
    of.
    """

    def __init__(self, folder: Path, topic: Topic, committed: int, end: int) -> None:
        self.folder = folder
        self.topic = topic
        self.committed = committed
        self.spans = {Partition(topic.name, 0): Span(0, end)}
        self.books: dict[str, Book] = {}

    async def book(self, service: str) -> Book:
        metadata = MetaData()
        tables = event_tables(metadata)
        db = Database(f"sqlite+aiosqlite:///{self.folder}/{service}.db")
        await db.create_tables(metadata)
        self.books[service] = book = book_of(service, db, tables)
        return book

    async def accepted(
        self, service: str, event_id: str, offset: int | None, key: str = "k"
    ) -> None:
        book = self.books.get(service) or await self.book(service)
        async with book.db.transaction() as tx:
            await tx.execute(
                insert(book.outbox).values(
                    id=event_id,
                    aggregatetype=self.topic.name,
                    aggregateid=key,
                    type="X",
                    payload=b"{}",
                    headers="{}",
                    created_at=now(),
                    sent_at=None if offset is None else now(),
                    log_partition=None if offset is None else 0,
                    log_offset=offset,
                )
            )

    async def seen(
        self, service: str, event_id: str, outcome: str = "handled", at: datetime | None = None
    ) -> None:
        book = self.books.get(service) or await self.book(service)
        async with book.db.transaction() as tx:
            await tx.execute(
                insert(book.inbox).values(
                    topic=self.topic.name,
                    event_id=event_id,
                    received_at=at or now(),
                    outcome=outcome,
                )
            )

    async def account(self, consumer: str, away: bool = False) -> tuple[Account, list[str]]:
        survey = (
            None
            if away
            else Survey(self.spans, {f"{consumer}.{self.topic.name}": {0: self.committed}})
        )
        ledger = TopicLedger(
            self.topic, Books(self.books), survey, now() - timedelta(hours=72), silent
        )
        doubled = await ledger.read_accepted()
        found = await ledger.account(consumer)
        for book in self.books.values():
            await book.db.close()
        return found, doubled


async def test_each_event_is_on_exactly_one_side(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path, DATASET_BUILT, committed=4, end=6)
    for offset, event_id in enumerate(["handled", "dead", "dropped", "lost", "unread"]):
        await ledgers.accepted("dataset-builder", event_id, offset)
    await ledgers.accepted("dataset-builder", "unsent", None)
    await ledgers.seen("trainer", "handled")
    await ledgers.seen("trainer", "dead", "dead-lettered")
    await ledgers.seen("trainer", "dropped", "dropped")
    found, doubled = await ledgers.account("trainer")
    assert found.outcomes == {"handled": 1, "dead-lettered": 1, "dropped": 1}
    assert (found.unsent, found.unread, found.lost, doubled) == (1, 1, ["lost"], [])
    assert found.accepted == sum(found.outcomes.values()) + found.pending + len(found.lost)


async def test_while_the_log_is_away_nobody_calls_an_event_lost(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path, DATASET_BUILT, committed=9, end=9)
    await ledgers.accepted("dataset-builder", "sent", 3)
    await ledgers.accepted("dataset-builder", "unsent", None)
    found, _ = await ledgers.account("trainer", away=True)
    assert (found.undecided, found.unsent, found.lost) == (1, 1, [])


async def test_an_event_that_the_log_forgot_before_it_was_read_is_lost(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path, DATASET_BUILT, committed=0, end=9)
    ledgers.spans = {Partition("dataset-built", 0): Span(5, 9)}
    await ledgers.accepted("dataset-builder", "too-old", 3)
    await ledgers.accepted("dataset-builder", "still-there", 7)
    found, _ = await ledgers.account("trainer")
    assert (found.lost, found.unread) == (["too-old"], 1)


async def test_a_state_that_a_newer_one_replaced_is_not_lost(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path, ROUTE_CHANGED, committed=3, end=3)
    for offset, (event_id, key) in enumerate([("old", "a"), ("new", "a"), ("only", "b")]):
        await ledgers.accepted("router", event_id, offset, key)
    await ledgers.seen("review", "new")
    found, _ = await ledgers.account("review")
    assert (found.superseded, found.lost) == (1, ["only"])


async def test_who_is_handled_and_was_accepted_by_nobody_is_a_stranger_unless_it_is_old(
    tmp_path: Path,
) -> None:
    ledgers = Ledgers(tmp_path, DATASET_BUILT, committed=0, end=0)
    await ledgers.accepted("dataset-builder", "twice", 0)
    await ledgers.accepted("dataset-builder", "twice", 1)
    recent = uuid7()
    await ledgers.seen("trainer", "twice")
    await ledgers.seen("trainer", recent)
    await ledgers.seen("trainer", "dataset-built/0/17", at=now() - timedelta(days=4))
    found, doubled = await ledgers.account("trainer")
    assert (found.strangers, found.older, doubled) == ([recent], 1, ["twice"])


async def test_events_that_speak_of_an_inference_are_found_in_their_bodies(db: Database) -> None:
    metadata = MetaData()
    tables = event_tables(metadata)
    await db.create_tables(metadata)
    answer = factories.inference(inference_id="inf_1")
    async with db.transaction() as tx:
        for event in (
            answer,
            factories.inference(inference_id="inf_10"),
            factories.review(inference_id="inf_1"),
        ):
            row = {
                "id": event.event_id,
                "aggregatetype": event.topic_name(),
                "type": type(event).__name__,
                "headers": "{}",
                "created_at": now(),
            }
            await tx.execute(
                insert(tables.outbox).values(payload=event.model_dump_json().encode(), **row)
            )
    book = book_of("router", db, tables)
    assert [row.type async for row in speaking_of(book, {"inf_1"})] == [
        "InferenceRecorded",
        "ReviewCompleted",
    ]
    assert await named(Books({"router": book}), answer.event_id) == [answer.event_id]
    assert len(await named(Books({"router": book}), "inf_1")) == 2


async def test_no_database_is_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(NoBooks, match="name the folder with --home"):
        async with open_books({"review": f"sqlite+aiosqlite:///{tmp_path}/review.db"}):
            pass
    assert list(tmp_path.iterdir()) == []


def letter(event_id: str = "e1") -> Letter:
    return Letter(
        service="trainer",
        topic="dataset-built",
        event_id=event_id,
        state="open",
        key=None,
        body=b"{}",
        body_is_kept=True,
        headers={"ce_id": event_id},
        partition=0,
        offset=1,
        cause="unreadable",
        error_type="ValidationError",
        error="",
        attempts=1,
        failed_at=datetime(2026, 11, 25, 3, tzinfo=UTC),
    )


async def test_a_letter_that_failed_twice_is_one_and_keeps_its_own_headers(db: Database) -> None:
    metadata = MetaData()
    tables = event_tables(metadata)
    await db.create_tables(metadata)
    async with db.transaction() as tx:
        for event_id, key, hour in (("e1", None, 3), ("e1", None, 4), ("e2", b"k", 5)):
            await tx.execute(
                insert(tables.dead_letters).values(
                    topic="dataset-built",
                    event_id=event_id,
                    key=key,
                    body=b"{}",
                    headers=json.dumps({"ce_id": event_id}),
                    log_partition=0,
                    log_offset=hour,
                    cause="unreadable",
                    error_type="ValidationError",
                    error="",
                    attempts=1,
                    failed_at=datetime(2026, 11, 25, hour, tzinfo=UTC),
                )
            )
        for event_id, outcome in (("e1", "dead-lettered"), ("e2", "handled")):
            await tx.execute(
                insert(tables.inbox).values(
                    topic="dataset-built", event_id=event_id, received_at=now(), outcome=outcome
                )
            )
    found, other = await letters_of(book_of("trainer", db, tables))
    assert (found.times, found.failed_at.hour, found.headers) == (2, 4, {"ce_id": "e1"})
    assert (found.state, other.state, other.times) == ("open", "replayed", 1)
    assert (found.key, other.key) == (None, b"k")


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        ({}, True),
        ({"topic": "dataset-built"}, True),
        ({"topic": "route-changed"}, False),
        ({"error": "validationerror"}, True),
        ({"ids": ("e2", "e1")}, True),
        ({"ids": ("e2",)}, False),
        ({"since": datetime(2026, 11, 25, 2, tzinfo=UTC)}, True),
        ({"since": datetime(2026, 11, 25, 4, tzinfo=UTC)}, False),
        ({"state": "dropped"}, False),
    ],
)
def test_letters_are_chosen(choice: dict, taken: bool) -> None:
    assert Wanted(**choice).takes(letter()) is taken


async def test_what_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(ServiceUnknown, match="choose from capture"):
        Wanted(service="revue")
    with pytest.raises(TopicUnknown, match="choose from inference-recorded"):
        await gather(Books(), Wanted(topic="x"))
    with pytest.raises(NoSuchPlace, match="TOPIC/PARTITION/OFFSET"):
        start_of("dataset-built/0/1", READS)
    with pytest.raises(NoMoment):
        moment("yesterday")


def test_moments() -> None:
    assert moment("2026-11-25T03:00") == datetime(2026, 11, 25, 3, tzinfo=UTC)
    assert moment("2026-11-25T03:00+02:00") == datetime(2026, 11, 25, 1, tzinfo=UTC)
    assert abs(now() - timedelta(hours=2) - moment("2h")) < timedelta(seconds=5)
    assert abs(now() - (born(uuid7()) or now() - timedelta(days=1))) < timedelta(seconds=5)
    assert born("dataset-built/0/17") is None
    assert born("inf_01a210fe17f5316638bf7ab88959a42a") is not None
    assert start_of("beginning", READS).beginning
    assert start_of("route-changed/0/17", READS).place == (Partition("route-changed", 0), 17)

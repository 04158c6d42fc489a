"""The operator's tools without a broker: what is compared, what is counted, and what is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
)

from infra.operations.accounts import Account
from infra.operations.books import Book, Books, NoBooks, open_books
from infra.operations.compare import compare
from infra.operations.derived import REBUILDS, Derived, tables_of
from infra.operations.letters import Letter, ServiceUnknown, TopicUnknown, Wanted, newest
from infra.operations.log import Span, Survey
from infra.operations.moments import NoMoment, born, moment
from infra.operations.rebuild import build
from infra.operations.reconcile import TopicLedger, silent
from infra.operations.rewind import NoSuchPlace, start_of
from infra.operations.trace import named, speaking_of
from schemas.base import uuid7
from schemas.topics import DATASET_BUILT, ROUTE_CHANGED, SERVICES, Topic
from shared.clock import now
from shared.events.log_guard import Partition
from shared.events.outbox import outbox_tables
from shared.storage.db import Database
from tests import factories

TABLE = Derived("things", ("id",), ("value",))


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_of_a_service_is_proven_or_says_why_not(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/x.db")
    monkeypatch.setenv("TRAINER_BASE_MODEL", "none")
    made = build(service).metadata.tables
    assert tables_of(service).keys() == made.keys()
    for derived in REBUILDS[service].derived:
        assert {*derived.key, *derived.columns} <= set(made[derived.table].columns.keys())


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
        inbox, outbox = outbox_tables(metadata)
        db = Database(f"sqlite+aiosqlite:///{self.folder}/{service}.db")
        await db.create_tables(metadata)
        self.books[service] = book = Book(service, db, inbox, outbox)
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


async def test_two_databases_are_compared_by_value_and_rows_are_named_not_shown(
    tmp_path: Path,
) -> None:
    live = await things(tmp_path / "a.db", {"1": "x", "2": "secret", "3": "x"})
    scratch = await things(tmp_path / "b.db", {"1": "x", "2": "y", "4": "x"})
    found = await compare(live, scratch, TABLE)
    assert (found.equal, found.differ, found.only_live, found.only_rebuilt) == (
        1,
        ["2"],
        ["3"],
        ["4"],
    )
    assert "secret" not in json.dumps(found.as_json())
    assert (await compare(live, live, TABLE)).same
    settled = await compare(
        live, scratch, Derived("things", ("id",), ("value",), settled="id <> '1'")
    )
    assert (settled.differ, settled.only_live, settled.only_rebuilt) == ([], [], ["4"])
    for db in (live, scratch):
        await db.close()


async def test_postgres_and_sqlite_say_the_same_of_the_same_values(
    db: Database, tmp_path: Path
) -> None:
    """The live database may be either; the rebuilt one is SQLite."""
    metadata = MetaData()
    table = Table(
        "kinds",
        metadata,
        Column("id", String, primary_key=True),
        Column("flag", Boolean),
        Column("at", DateTime(timezone=True)),
        Column("number", Float(53)),
        Column("whole", BigInteger),
        Column("body", LargeBinary),
        Column("facts", JSON),
    )
    scratch = Database(f"sqlite+aiosqlite:///{tmp_path}/scratch.db")
    at = datetime(2026, 11, 25, 3, tzinfo=UTC)
    for each in (db, scratch):
        await each.create_tables(metadata)
        async with each.transaction() as tx:
            await tx.execute(
                insert(table).values(
                    id="1",
                    flag=True,
                    at=at,
                    number=0.1,
                    whole=2**40,
                    body=b"\0x",
                    facts={"b": 1, "a": [None]},
                )
            )
            await tx.execute(insert(table).values(id="2"))
    found = await compare(
        db, scratch, Derived("kinds", ("id",), ("flag", "at", "number", "whole", "body", "facts"))
    )
    assert (found.same, found.equal) == (True, 2)
    await scratch.close()


async def test_events_that_speak_of_an_inference_are_found_in_their_bodies(db: Database) -> None:
    metadata = MetaData()
    inbox, outbox = outbox_tables(metadata)
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
            await tx.execute(insert(outbox).values(payload=event.model_dump_json().encode(), **row))
    book = Book("router", db, inbox, outbox)
    assert [row.type async for row in speaking_of(book, {"inf_1"})] == [
        "InferenceRecorded",
        "ReviewCompleted",
    ]
    assert await named(Books({"router": book}), answer.event_id) == [answer.event_id]
    assert len(await named(Books({"router": book}), "inf_1")) == 2


async def test_only_rows_that_are_old_enough_may_have_been_forgotten(tmp_path: Path) -> None:
    young = uuid7()
    live = await things(tmp_path / "a.db", {})
    scratch = await things(tmp_path / "b.db", {young: "x", "of no age": "x"})
    found = await compare(
        live,
        scratch,
        Derived("things", ("id",), ("value",), forgets="old ones", forgets_after=timedelta(days=1)),
    )
    assert (found.only_rebuilt, found.forgotten) == ([young], 1)
    for db in (live, scratch):
        await db.close()


async def things(path: Path, rows: dict[str, str]) -> Database:
    db = Database(f"sqlite+aiosqlite:///{path}")
    async with db.transaction() as tx:
        await tx.exec_driver_sql("create table things (id text primary key, value text)")
        for key, value in rows.items():
            await tx.exec_driver_sql("insert into things values (?, ?)", (key, value))
    return db


async def test_no_database_is_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(NoBooks, match="name the folder with --home"):
        async with open_books({"review": f"sqlite+aiosqlite:///{tmp_path}/review.db"}):
            pass
    assert list(tmp_path.iterdir()) == []


def letter(event_id: str = "e1", at: str = "2026-11-25T03:00:00+00:00", **changes: str) -> Letter:
    headers = {
        "x-origin-topic": "dataset-built",
        "x-failed-at": at,
        "x-error-type": "ValidationError",
        "ce_id": event_id,
    } | changes
    return Letter("trainer", event_id, headers, b"{}", "outbox")


def test_a_letter_that_failed_twice_is_one_and_keeps_its_own_headers() -> None:
    (found,) = newest([letter(), letter(at="2026-11-25T04:00:00+00:00"), letter()])
    assert (found.times, found.headers["x-failed-at"][11:13], found.original_headers) == (
        2,
        "04",
        {"ce_id": "e1"},
    )
    assert (letter().key, letter(**{"x-origin-key": "6b"}).key) == (None, b"k")


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


def test_what_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(ServiceUnknown, match="choose from capture"):
        Wanted(service="revue")
    with pytest.raises(TopicUnknown, match="choose from inference-recorded"):
        Wanted(topic="x")
    with pytest.raises(NoSuchPlace, match="TOPIC/PARTITION/OFFSET"):
        start_of("dataset-built/0/1", "review")
    with pytest.raises(NoMoment):
        moment("yesterday")


def test_moments() -> None:
    assert moment("2026-11-25T03:00") == datetime(2026, 11, 25, 3, tzinfo=UTC)
    assert moment("2026-11-25T03:00+02:00") == datetime(2026, 11, 25, 1, tzinfo=UTC)
    assert abs(now() - timedelta(hours=2) - moment("2h")) < timedelta(seconds=5)
    assert abs(now() - (born(uuid7()) or now() - timedelta(days=1))) < timedelta(seconds=5)
    assert born("dataset-built/0/17") is None
    assert born("inf_01a210fe17f5316638bf7ab88959a42a") is not None
    assert start_of("beginning", "review").beginning
    assert start_of("route-changed/0/17", "review").place == (Partition("route-changed", 0), 17)

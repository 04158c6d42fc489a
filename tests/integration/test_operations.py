"""The operator's tools on a real broker with real services: they are right when nothing is wrong, and find what a test breaks."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from faststream.kafka import KafkaRouter
from sqlalchemy import MetaData

from infra.local.databases import database_urls
from infra.local.home import Home
from infra.operations.accounts import Account, Balance
from infra.operations.books import open_books
from infra.operations.letters import Letter, Wanted, gather
from infra.operations.log import survey
from infra.operations.proof import Proof, prove
from infra.operations.reconcile import reconcile
from infra.operations.rewind import StillReading, rewind, start_of
from infra.operations.settling import Outcome, drop, replay
from infra.operations.trace import EventUnknown, trace
from schemas.base import Event
from schemas.topics import SERVICES, dead_letter_topic
from services.dataset_builder.adapters.ledger import Ledger
from services.dataset_builder.app import build as build_dataset_builder
from services.dataset_builder.settings import Settings as DatasetBuilderSettings
from services.review.app import build as build_review
from services.review.settings import Settings as ReviewSettings
from shared.db import Database
from shared.outbox import Outbox
from shared.service import Service
from shared.settings import ServiceSettings
from tests import factories
from tests.integration.test_bus import producer, send
from tests.kafka import Broker, EmbeddedBroker

PATIENCE = 40.0


class System:
    """A router, a capture and a review that only say things; a real review and a real dataset-builder that listen."""

    def __init__(self, home: Path, broker: Broker, listeners: tuple[str, ...]) -> None:
        self.home, self.broker, self.urls = Home(home), broker, database_urls(Home(home), None)
        self.services: dict[str, Service] = {}
        self.listeners, self.stops = listeners, dict[str, AsyncExitStack]()

    def settings(self, kind: type[ServiceSettings], name: str, **more: object) -> ServiceSettings:
        return kind(kafka_bootstrap_servers=self.broker.servers, database_url=self.urls[name], keys_file=self.home.keys_file,
                    artifacts_url=f"file://{self.home.path}/artifacts", **more)  # fmt: skip

    def speaker(self, name: str) -> Service:
        metadata, settings = MetaData(), self.settings(ServiceSettings, name)
        return Service(
            name, settings, metadata, KafkaRouter(), [], Database(settings.database_url), Outbox(name, metadata)
        )

    async def say(self, name: str, *events: Event) -> None:
        service = self.services[name]
        async with service.db.transaction() as tx:
            await service.outbox.add(tx, *events)

    async def settled(self) -> None:
        """Every outbox is empty and every group is at the end."""

        async def still() -> bool:
            balance = await self.reconciled()
            return not any(account.pending for account in balance.accounts if account.consumer in self.listeners)

        await eventually(still)

    async def reconciled(self) -> Balance:
        async with open_books(self.urls) as books:
            return await reconcile(books, self.broker.servers)

    async def letters(self, **wanted) -> list[Letter]:
        async with open_books(self.urls) as books:
            seen = await asyncio.to_thread(
                survey, self.broker.servers, [dead_letter_topic(service) for service in SERVICES]
            )
            return await gather(books, self.broker.servers, Wanted(**wanted), seen)

    async def proven(self, service: str) -> Proof:
        return await prove(service, self.urls[service], self.broker.servers, self.home, lambda *_: None)

    async def replayed(self, letters: list[Letter]) -> list[Outcome]:
        async with open_books(self.urls) as books:
            return await replay(books, self.broker.servers, letters, seconds=PATIENCE)

    async def traced(self, wanted: str) -> list[dict[str, Any]]:
        async with open_books(self.urls) as books:
            return await trace(books, self.broker.servers, wanted, keep_hours=72)

    async def knows_stranger(self, event_id: str) -> bool:
        return event_id in account(await self.reconciled(), "inference-recorded", "review").strangers

    async def inference_of(self, event_id: str) -> str:
        ((payload,),) = self.rows("router", "select payload from outbox where id = ?", event_id)
        return json.loads(payload)["inference_id"]

    def broken(self, service: str, statement: str, *values: object) -> None:
        with sqlite3.connect(self.home.path / f"{service}.db", timeout=20) as database:
            database.execute(statement, values)

    def rows(self, service: str, statement: str, *values: object) -> list[tuple]:
        with sqlite3.connect(self.home.path / f"{service}.db", timeout=20) as database:
            return database.execute(statement, values).fetchall()

    async def start(self, name: str) -> None:
        service = self.services[name] = self.built(name)
        self.stops[name] = stack = AsyncExitStack()
        await stack.enter_async_context(service.api.router.lifespan_context(service.api))

    async def stop(self, name: str) -> None:
        await self.stops.pop(name).aclose()

    def built(self, name: str) -> Service:
        if name == "review":
            return build_review(self.settings(ReviewSettings, name, salt=self.home.secret("review-salt")))
        if name == "dataset-builder":
            return build_dataset_builder(self.settings(DatasetBuilderSettings, name))
        return self.speaker(name)


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running(folder: Path, *names: str) -> AsyncIterator[System]:
    home = folder / "home"
    home.mkdir()
    (home / "keys.json").write_text('{"keys": []}')
    with EmbeddedBroker(folder / "broker") as broker:
        system = System(home, broker, names)
        try:
            for name in ("router", "capture", *names):
                await system.start(name)
            yield system
        finally:
            for name in list(system.stops):
                await system.stop(name)


async def route_and_answers(system: System, count: int) -> list[str]:
    """A route, answers on it, and verdicts on the first half of them; returns the answers' event ids."""
    await system.say("router", factories.route_changed())
    answers = [factories.inference() for _ in range(count)]
    await system.say("router", *answers)
    verdicts = [factories.review(inference_id=answer.inference_id) for answer in answers[: count // 2]]
    await system.say("review", *verdicts)
    await system.settled()
    return [answer.event_id for answer in answers]


def account(balance: Balance, topic: str, consumer: str) -> Account:
    return next(found for found in balance.accounts if (found.topic, found.consumer) == (topic, consumer))


async def test_nothing_is_lost_and_what_is_broken_is_found(tmp_path: Path) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        answers = await route_and_answers(system, 60)
        balance = await system.reconciled()
        assert balance.holds
        assert account(balance, "inference-recorded", "review").outcomes["handled"] == 60
        assert account(balance, "inference-recorded", "evaluator").unread == 60, "who never ran has all of it before it"
        assert {found.topic: found.records for found in balance.log}["review-completed"] == 30

        system.broken("review", "delete from inbox where event_id = ?", answers[7])
        balance = await system.reconciled()
        assert (balance.holds, account(balance, "inference-recorded", "review").lost) == (False, [answers[7]])

        event = factories.inference()
        async with producer(system.broker.servers) as foreign:
            await send(foreign, event)
        await eventually(lambda: system.knows_stranger(event.event_id))
        balance = await system.reconciled()
        assert {found.topic: found.strangers for found in balance.log}["inference-recorded"] == 1

        columns = "id, aggregatetype, aggregateid, type, payload, headers, created_at"
        system.broken("router", f"insert into outbox ({columns}) select {columns} from outbox where id = ?", answers[3])
        assert (await system.reconciled()).doubled["inference-recorded"] == [answers[3]]


async def test_an_events_way_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        answers = await route_and_answers(system, 4)
        (found,) = await system.traced(answers[0])
        states = {consumer["service"]: consumer["state"] for consumer in found["consumers"]}
        assert (found["topic"], found["accepted"][0]["service"], found["published"]["on_log"]) == (
            "inference-recorded",
            "router",
            True,
        )
        assert states == {"review": "handled", "evaluator": "not seen"}
        assert [follower["type"] for follower in found["followed"]] == ["ReviewCompleted"]
        with pytest.raises(EventUnknown):
            await system.traced("01932c5e-7d3a-7c11-9f00-0123456789ab")
        inference_id = await system.inference_of(answers[0])
        assert [event["type"] for event in await system.traced(inference_id)] == [
            "InferenceRecorded",
            "ReviewCompleted",
        ]

        system.broken("review", "delete from inbox where event_id = ?", answers[1])
        (found,) = await system.traced(answers[1])
        assert {consumer["service"]: consumer["state"] for consumer in found["consumers"]}["review"] == "LOST"


async def test_dead_letters_are_listed_replayed_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        await route_and_answers(system, 2)

        async def broken(*_: object) -> None:
            raise ValueError("a bug of ours")

        with monkeypatch.context() as bug:
            bug.setattr(Ledger, "add_feedback", broken)
            events = [factories.feedback() for _ in range(3)]
            await system.say("capture", *events)
            await system.settled()
            letters = await system.letters(state="open")
            assert {(letter.service, letter.topic, letter.error_type, letter.error) for letter in letters} == {
                ("dataset-builder", "feedback-recorded", "ValueError", "a bug of ours")
            }
            bodies = {event.event_id: event.model_dump_json().encode() for event in events}
            assert {letter.event_id: letter.body for letter in letters} == bodies
            assert (await system.replayed(letters[:1]))[0].outcome == "dead-lettered again"
            again = await system.letters(ids=(letters[0].event_id,))
            assert (len(again), again[0].times, again[0].state) == (1, 2, "open")

        outcomes = await system.replayed(letters[:2])
        assert [outcome.outcome for outcome in outcomes] == ["handled", "handled"]
        async with open_books(system.urls) as books:
            assert (await drop(books, letters[2:], "nobody wants it"))[0].outcome == "dropped"
            assert (await drop(books, letters[2:], "twice"))[0].outcome == "settled meanwhile"
        states = {letter.event_id: letter.state for letter in await system.letters()}
        assert [states[letter.event_id] for letter in letters] == ["replayed", "replayed", "dropped"]
        balance = await system.reconciled()
        found = account(balance, "feedback-recorded", "dataset-builder")
        assert (found.outcomes, found.lost) == ({"handled": 2, "dead-lettered": 0, "dropped": 1}, [])
        assert (account(balance, "feedback-recorded", "review").outcomes["handled"], balance.holds) == (3, True)


async def test_a_state_follows_from_the_log_until_a_row_is_changed(tmp_path: Path) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        await route_and_answers(system, 40)
        await system.say("capture", *[factories.feedback(value=-1.0) for _ in range(5)])
        await system.settled()
        for service in ("review", "dataset-builder"):
            proof = await system.proven(service)
            assert proof.proven, proof.as_json()
        assert {table.derived.table: table.equal for table in proof.tables} == {
            "routes": 1,
            "verdicts": 20,
            "feedback": 5,
        }

        (changed,) = system.rows("dataset-builder", "select review_id from verdicts limit 1")[0]
        system.broken("dataset-builder", "update verdicts set answer = 'refund' where review_id = ?", changed)
        (gone,) = system.rows("dataset-builder", "select feedback_id from feedback limit 1")[0]
        system.broken("dataset-builder", "delete from feedback where feedback_id = ?", gone)
        proof = await system.proven("dataset-builder")
        assert not proof.equal
        found = {table.derived.table: table for table in proof.tables}
        assert (found["verdicts"].differ, found["feedback"].only_rebuilt) == ([changed], [gone])
        assert len(set(found["verdicts"].fingerprints)) == 2


async def test_a_stopped_service_reads_again_and_absorbs_it(tmp_path: Path) -> None:
    async with running(tmp_path, "review") as system:
        await route_and_answers(system, 10)
        servers, beginning = system.broker.servers, start_of("beginning", "review")
        with pytest.raises(StillReading):
            await asyncio.to_thread(rewind, "review", servers, beginning, False)
        await system.stop("review")
        system.broken("review", "delete from inbox where topic = 'inference-recorded' and log_offset < 3")
        system.broken("review", "delete from items")
        lost = len(account(await system.reconciled(), "inference-recorded", "review").lost)
        again = await asyncio.to_thread(rewind, "review", servers, beginning, True)
        assert (again["inference-recorded"], again["route-changed"], lost) == (10, 1, 3)
        assert await asyncio.to_thread(rewind, "review", servers, beginning, False) == again
        await system.start("review")
        await system.settled()
        assert (await system.reconciled()).holds
        assert len(system.rows("review", "select 1 from items")) == 3, "what had its effect is absorbed"

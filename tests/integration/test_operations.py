"""The operator's tools on a real broker with real services: they are right when nothing is wrong,
and find what a test breaks.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from infra.operations.books import open_books
from infra.operations.rewind import StillReading, rewind, start_of, topics_of
from infra.operations.settling import drop
from infra.operations.trace import EventUnknown
from services.dataset_builder.store import feedback
from tests import factories
from tests.integration.operations import System, account, eventually, running
from tests.integration.test_bus import everything_on, producer, send


async def route_and_answers(system: System, count: int) -> list[str]:
    """A route, answers on it, and verdicts on the first half of them; returns the answers' event
    ids.
    """
    await system.say("router", factories.route_changed())
    answers = [factories.inference() for _ in range(count)]
    await system.say("router", *answers)
    verdicts = [
        factories.review(inference_id=answer.inference_id) for answer in answers[: count // 2]
    ]
    await system.say("review", *verdicts)
    await system.settled()
    return [answer.event_id for answer in answers]


async def test_nothing_is_lost_and_what_is_broken_is_found(tmp_path: Path) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        answers = await route_and_answers(system, 60)
        balance = await system.reconciled()
        assert balance.holds
        assert account(balance, "inference-recorded", "review").outcomes["handled"] == 60
        assert account(balance, "inference-recorded", "evaluator").unread == 60, (
            "who never ran has all of it before it"
        )
        assert {found.topic: found.records for found in balance.log}["review-completed"] == 30

        system.broken("review", "delete from inbox where event_id = ?", answers[7])
        balance = await system.reconciled()
        assert (balance.holds, account(balance, "inference-recorded", "review").lost) == (
            False,
            [answers[7]],
        )
        said = await system.cli("reconcile")
        assert (said.exit_code, answers[7] in said.stdout) == (1, True)

        event = factories.inference()
        async with producer(system.broker.servers) as foreign:
            await send(foreign, event)
        await eventually(lambda: system.knows_stranger(event.event_id))
        balance = await system.reconciled()
        assert {found.topic: found.strangers for found in balance.log}["inference-recorded"] == 1

        columns = "id, aggregatetype, aggregateid, type, payload, headers, created_at"
        system.broken(
            "router",
            f"insert into outbox ({columns}) select {columns} from outbox where id = ?",
            answers[3],
        )
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
        said = await system.cli("trace", answers[0])
        assert (
            said.exit_code,
            "review: handled" in said.stdout,
            "Where is my parcel" in said.stdout,
        ) == (
            0,
            True,
            False,
        )
        with pytest.raises(EventUnknown):
            await system.traced("01932c5e-7d3a-7c11-9f00-0123456789ab")
        inference_id = await system.inference_of(answers[0])
        assert [event["type"] for event in await system.traced(inference_id)] == [
            "InferenceRecorded",
            "ReviewCompleted",
        ]

        system.broken("review", "delete from inbox where event_id = ?", answers[1])
        (found,) = await system.traced(answers[1])
        assert {consumer["service"]: consumer["state"] for consumer in found["consumers"]}[
            "review"
        ] == "LOST"


async def test_dead_letters_are_listed_replayed_and_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        await route_and_answers(system, 2)

        async def broken(*_: object) -> None:
            raise ValueError("a bug of ours")

        with monkeypatch.context() as bug:
            bug.setattr(feedback, "insert_once", broken)
            events = [factories.feedback() for _ in range(3)]
            await system.say("capture", *events)
            await system.settled()
            letters = await system.letters(state="open")
            assert {
                (letter.service, letter.topic, letter.error_type, letter.error.partition(":")[0])
                for letter in letters
            } == {
                (
                    "dataset-builder",
                    "feedback-recorded",
                    "ValueError",
                    "ValueError at services.dataset_builder.store.feedback",
                )
            }
            bodies = {event.event_id: event.model_dump_json().encode() for event in events}
            assert {letter.event_id: letter.body for letter in letters} == bodies
            assert (await system.replayed(letters[:1]))[0].outcome == "dead-lettered again"
            again = await system.letters(ids=(letters[0].event_id,))
            assert (len(again), again[0].times, again[0].state) == (1, 2, "open")

        first = letters[0].event_id
        third = letters[2].event_id
        assert (await system.cli("dlq", "drop", "--because", "x")).exit_code == 1, (
            "it must be said which"
        )
        dry = await system.cli("dlq", "replay", "--service", "dataset-builder", "--dry-run")
        assert (dry.exit_code, dry.stdout.count("dataset-builder"), "3 open" in dry.stdout) == (
            0,
            3,
            True,
        )
        shown = (await system.cli("dlq", "show", first)).stdout
        assert (
            "ValueError at services.dataset_builder" in shown,
            '"rating"' in shown,
            '"rating"' in (await system.cli("dlq", "show", first, "--payload")).stdout,
        ) == (True, False, True)

        outcomes = await system.replayed(letters[:2])
        assert [outcome.outcome for outcome in outcomes] == ["handled", "handled"]
        assert (
            await system.cli("dlq", "drop", third, "--because", "nobody wants it")
        ).exit_code == 0
        async with open_books(system.urls) as books:
            assert (await drop(books, letters[2:], "twice"))[0].outcome == "settled meanwhile"
        await eventually(lambda: notes_of(system))
        assert await notes_of(system) == [(third.encode(), b"nobody wants it")]
        states = {letter.event_id: letter.state for letter in await system.letters()}
        assert [states[letter.event_id] for letter in letters] == [
            "replayed",
            "replayed",
            "dropped",
        ]
        balance = await system.reconciled()
        found = account(balance, "feedback-recorded", "dataset-builder")
        assert (found.outcomes, found.lost) == (
            {"handled": 2, "dead-lettered": 0, "dropped": 1},
            [],
        )
        assert (
            account(balance, "feedback-recorded", "review").outcomes["handled"],
            balance.holds,
        ) == (3, True)


async def notes_of(system: System) -> list[tuple[bytes, bytes]]:
    found = [
        dict(record.headers)
        for record in await everything_on(system.broker.servers, "dataset-builder-dlq")
    ]
    return [
        (headers["x-dropped-id"], headers["x-dropped-because"])
        for headers in found
        if "x-dropped-id" in headers
    ]


async def test_a_stopped_service_reads_again_and_absorbs_it(tmp_path: Path) -> None:
    async with running(tmp_path, "review") as system:
        await route_and_answers(system, 10)
        servers = system.broker.servers
        topics = await asyncio.to_thread(topics_of, "review", servers)
        again_from = partial(asyncio.to_thread, rewind, "review", servers, topics)
        beginning = start_of("beginning", topics)
        with pytest.raises(StillReading):
            await again_from(beginning, False)
        await system.stop("review")
        system.broken(
            "review", "delete from inbox where topic = 'inference-recorded' and log_offset < 3"
        )
        system.broken("review", "delete from items")
        lost = len(account(await system.reconciled(), "inference-recorded", "review").lost)
        again = await again_from(beginning, True)
        assert (again["inference-recorded"], again["route-changed"], lost) == (10, 1, 3)
        assert await again_from(beginning, False, True) == again
        earlier = await again_from(start_of("1h", topics), False, True)
        assert set(earlier.values()) == {0}, "it is back there already, and nothing is set forward"
        await system.start("review")
        await system.settled()
        assert (await system.reconciled()).holds
        assert len(system.rows("review", "select 1 from items")) == 3, (
            "what had its effect is absorbed"
        )

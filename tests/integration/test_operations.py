"""The operator's tools on a real broker with real services: they are right when nothing is wrong,
and find what a test breaks.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from infra.operations.books import open_books
from infra.operations.rewind import StillReading, rewind, start_of
from infra.operations.settling import drop
from infra.operations.trace import EventUnknown
from schemas.topics import SERVICES
from services.dataset_builder.store.ledger import Ledger
from services.router.state import RouteState
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
            bug.setattr(Ledger, "add_feedback", broken)
            events = [factories.feedback() for _ in range(3)]
            await system.say("capture", *events)
            await system.settled()
            letters = await system.letters(state="open")
            assert {
                (letter.service, letter.topic, letter.error_type, letter.error)
                for letter in letters
            } == {("dataset-builder", "feedback-recorded", "ValueError", "a bug of ours")}
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
            "a bug of ours" in shown,
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


async def test_a_state_follows_from_the_log_until_a_row_is_changed(tmp_path: Path) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        await route_and_answers(system, 40)
        await system.say("capture", *[factories.feedback(value=-1.0) for _ in range(5)])
        await system.settled()
        proof = await system.proven("dataset-builder")
        assert proof.proven, proof.as_json()
        assert {table.derived.table: table.equal for table in proof.tables} == {
            "routes": 1,
            "verdicts": 20,
            "feedback": 5,
        }

        (changed,) = system.rows("dataset-builder", "select review_id from verdicts limit 1")[0]
        system.broken(
            "dataset-builder", "update verdicts set answer = 'refund' where review_id = ?", changed
        )
        (gone,) = system.rows("dataset-builder", "select feedback_id from feedback limit 1")[0]
        system.broken("dataset-builder", "delete from feedback where feedback_id = ?", gone)
        proof = await system.proven("dataset-builder")
        assert not proof.equal
        found = {table.derived.table: table for table in proof.tables}
        assert (found["verdicts"].differ, found["feedback"].only_rebuilt) == ([changed], [gone])
        assert len(set(found["verdicts"].fingerprints)) == 2
        said = await system.cli("replay", "dataset-builder")
        assert (
            said.exit_code,
            changed in said.stdout,
            "does not follow from the log" in said.stdout,
        ) == (
            1,
            True,
            True,
        )
        assert (await system.cli("replay", "dataset-builder", "--from", "2h")).exit_code == 1, (
            "nothing is proven from the middle"
        )


async def test_the_state_of_every_service_follows_from_the_log(tmp_path: Path) -> None:
    """Everything that travels travels, some of it more than once; one event is poison, one had to
    wait for its route.
    """
    champion = factories.adapter()
    async with running(tmp_path, *SERVICES) as system:
        early = factories.inference(
            arm="champion", adapter_id=champion.adapter_id, model=champion.adapter_id
        )
        await system.say("router", early)
        router = system.services["router"]
        async with router.db.transaction() as tx:
            state = RouteState(version=1, spec=factories.spec(), champion=champion)
            await router.context["routes"].save(tx, None, state, "created", "ada")
        answers = [
            factories.inference(arm="champion", adapter_id=champion.adapter_id) for _ in range(20)
        ]
        await system.say(
            "router", *answers, factories.review_requested(inference_id=answers[0].inference_id)
        )
        await system.say(
            "review",
            *[
                factories.review(inference_id=answer.inference_id, audit=True)
                for answer in answers[:9]
            ],
        )
        await system.say(
            "capture",
            *[
                factories.feedback(inference_id=answer.inference_id, value=-1.0)
                for answer in answers[5:9]
            ],
        )
        await system.say("dataset-builder", factories.dataset())
        await system.say("trainer", factories.trained())
        await system.say(
            "evaluator",
            factories.calibration(),
            factories.evaluated(adapter=factories.adapter("ba9876543210")),
            factories.drift(),
        )
        async with producer(system.broker.servers) as foreign:
            await foreign.send_and_wait("review-completed", b"poison", key=b"x")
            await send(foreign, answers[3])
        await system.settled()
        assert (await system.reconciled()).holds
        compared = {}
        for service in SERVICES:
            proof = await system.proven(service)
            assert proof.proven, proof.as_json()
            compared |= {f"{service}.{table.derived.table}": table.equal for table in proof.tables}
        assert proof.skipped == 1, "the poison"
    assert compared == {
        "capture.routes": 1,
        "review.routes": 1,
        "review.items": 21,
        "review.drift_batches": 1,
        "dataset-builder.routes": 1,
        "dataset-builder.verdicts": 9,
        "dataset-builder.feedback": 4,
        "trainer.routes": 1,
        "trainer.jobs": 1,
        "evaluator.routes": 1,
        "evaluator.jobs": 1,
        "evaluator.observations": 21,
        "evaluator.reviews": 9,
        "evaluator.feedback": 4,
        "router.calibrations": 1,
        "router.evaluations": 1,
        "router.outcomes": 9,
    }


async def test_a_stopped_service_reads_again_and_absorbs_it(tmp_path: Path) -> None:
    async with running(tmp_path, "review") as system:
        await route_and_answers(system, 10)
        servers = system.broker.servers
        beginning = start_of("beginning", "review")
        with pytest.raises(StillReading):
            await asyncio.to_thread(rewind, "review", servers, beginning, False)
        await system.stop("review")
        system.broken(
            "review", "delete from inbox where topic = 'inference-recorded' and log_offset < 3"
        )
        system.broken("review", "delete from items")
        lost = len(account(await system.reconciled(), "inference-recorded", "review").lost)
        again = await asyncio.to_thread(rewind, "review", servers, beginning, True)
        assert (again["inference-recorded"], again["route-changed"], lost) == (10, 1, 3)
        assert await asyncio.to_thread(rewind, "review", servers, beginning, False, True) == again
        earlier = await asyncio.to_thread(
            rewind, "review", servers, start_of("1h", "review"), False, True
        )
        assert set(earlier.values()) == {0}, "it is back there already, and nothing is set forward"
        await system.start("review")
        await system.settled()
        assert (await system.reconciled()).holds
        assert len(system.rows("review", "select 1 from items")) == 3, (
            "what had its effect is absorbed"
        )

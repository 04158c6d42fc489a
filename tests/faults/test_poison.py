"""Row 7: poison on every topic. It ends on the DLQ of each consumer with its bytes unchanged, and
the next event is digested.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import SERVICES, TOPICS, Topic, dead_letter_topic
from tests import factories
from tests.faults.evidence import query
from tests.faults.scenario import run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
NEXT_SECONDS = 60.0  # on two busy slow cores; alone it takes under one
VALID: dict[str, Callable[..., Any]] = {
    "inference-recorded": factories.inference,
    "feedback-recorded": factories.feedback,
    "review-requested": factories.review_requested,
    "review-completed": factories.review,
    "drift-detected": factories.drift,
    "dataset-built": factories.dataset,
    "adapter-trained": factories.trained,
    "adapter-evaluated": factories.evaluated,
    "calibration-fitted": factories.calibration,
    "route-changed": factories.route_changed,
    "comparison-requested": factories.comparison_requested,
    "answers-compared": factories.answers_compared,
}


Headers = list[tuple[str, bytes | None]]


def corpus(topic: str) -> dict[str, tuple[bytes | None, bytes | None, Headers]]:
    """By name: key, value, headers. All of it can be written to a topic by anybody who may write
    there.
    """
    valid = VALID[topic]().model_dump(mode="json")
    key = factories.ROUTE.encode()
    ids = [("ce_type", b"Whatever")]
    return {
        "invalid utf-8": (key, b"\xff\xfe{nonsense", ids),
        "wrong schema": (key, json.dumps({"tenant": 1, "route": None}).encode(), ids),
        "large": (key, json.dumps(valid | {"tenant": "x" * 900_000}).encode()[:-1], ids),
        "deep": (key, b"[" * 100_000, ids),
        "deep and closed": (key, b'{"tenant":' + b"[" * 50_000 + b"]" * 50_000 + b"}", ids),
        "NaN": (key, json.dumps(valid | {"occurred_at": float("nan")}).encode(), ids),
        "lone surrogate": (key, json.dumps(valid | {"tenant": "\ud800"}).encode(), ids),
        "null key": (None, b"{}", ids),
        "unknown type": (
            key,
            b'{"hello": "world"}',
            [("ce_type", b"NobodyKnows"), ("ce_id", f"unknown-type-of-{topic}".encode())],
        ),
        "tombstone": (key, None, ids),
        "empty": (key, b"", ids),
        "a number": (key, b"7", ids),
        "headers that are not utf-8": (
            b"\xff\xfe",
            b"null",
            [("ce_type", b"\xff\xfe"), ("\u00fc", b"\x00")],
        ),
        # What PostgreSQL stores in no column of text, or not in so short a one.
        "NUL in the id": (key, b"1", [("id", f"{topic}\0id".encode())]),
        "NUL in CloudEvents' id": (key, b"2", [("ce_id", f"\0{topic}".encode())]),
        "a long id": (key, b"3", [("id", f"{topic}-{'x' * 4000}".encode())]),
        "a long id like the last": (key, b"4", [("id", f"{topic}-{'x' * 4001}".encode())]),
        "an id of no text": (key, b"5", [("id", topic.encode() + b"\xff")]),
        "another id of no text": (key, b"6", [("id", topic.encode() + b"\xfe")]),
        "a long id of letters of two bytes": (key, b"7", [("id", f"{topic}-{'ü' * 125}".encode())]),
        "NUL in the key": (b"a\0b", b"8", ids),
        "a long key": (b"k" * 300_000, b"9", ids),
        "a long key of no text": (b"\xff" * 300, b"10", ids),
        "a header without a value": (key, b"11", [("id", None), ("x-nothing", None)]),
        "many headers": (key, b"12", [(f"x-{n}", b"v" * 100) for n in range(2000)]),
        "a NUL in a header": (key, b"13", [("x-nul", b"a\0b")]),
        "a body at the limit": (key, b"b" * 1_000_000, [("x-much", b"v" * 20_000)]),
    }


async def feed(servers: str, topic: Topic) -> dict[str, bytes | None]:
    """Returns what was put there, by its own mark."""
    async with AIOKafkaProducer(bootstrap_servers=servers, max_request_size=8 << 20) as producer:
        given = {}
        for name, (key, value, headers) in corpus(topic.name).items():
            if key is None and topic.compacted:
                continue  # the log itself refuses those
            mark = f"{topic.name}/{name}"
            await producer.send_and_wait(
                topic.name, value, key=key, headers=[*headers, ("x-mark", mark.encode())]
            )
            given[mark] = value
        return given


async def letters(world: World, service: str) -> dict[str, bytes | None]:
    (rows,) = await query(
        world.databases[service],
        "select body, headers from dead_letters",
    )
    marks = [json.loads(row["headers"]).get("x-mark") for row in rows]
    assert not [mark for mark, times in Counter(marks).items() if times > 1], (
        "a letter was written twice"
    )
    return {mark: row["body"] for mark, row in zip(marks, rows, strict=True) if mark}


async def copies(world: World, service: str) -> int:
    """Count the letters that the DLQ topic has a copy of, with or without its body."""
    (rows,) = await query(
        world.databases[service],
        f"select seq from outbox where aggregatetype = '{dead_letter_topic(service)}'"
        " and parked_at is null",
    )
    return len(rows)


def expected(service: str, given: dict[str, dict[str, bytes | None]]) -> dict[str, bytes | None]:
    return {
        mark: body
        for topic in TOPICS
        if service in topic.consumers
        for mark, body in given[topic.name].items()
    }


@pytest.mark.faults
@pytest.mark.timeout(700)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_poison_on_every_topic(
    broker: Broker, new_world: NewWorld, database: str, request: pytest.FixtureRequest
) -> None:
    postgres = request.getfixturevalue("postgres_server") if database == "postgres" else None
    consumed: list[Topic] = [topic for topic in TOPICS if topic.consumers]
    took: list[float] = []

    async def during(clients: Clients) -> None:
        await asyncio.sleep(1)
        given.update({topic.name: await feed(broker.servers, topic) for topic in consumed})
        started = time.monotonic()
        while not all(
            [
                set(await letters(world, service)) >= set(expected(service, given))
                for service in SERVICES
            ]
        ):
            assert time.monotonic() - started < 240, await behind(world, given)
            await asyncio.sleep(0.5)
        took.append(time.monotonic() - started)
        await next_event(clients)

    given: dict[str, dict[str, bytes | None]] = {}
    async with new_world(broker.servers, postgres) as world:
        outcome = await run_scenario(world, seed_of_this_run(14), during)
        for service in SERVICES:
            wanted = expected(service, given)
            found = await letters(world, service)
            assert {mark: found.get(mark) or b"" for mark in wanted} == {
                mark: body or b"" for mark, body in wanted.items()
            }
            assert {mark for mark in wanted if found[mark] is None} == {
                mark for mark, body in wanted.items() if body is None
            }, "a tombstone stays one"
            assert await copies(world, service) >= len(wanted)
    strange = [finding for finding in outcome.verdict.findings if finding.kind != "orphan"]
    assert not strange, outcome.explain()
    print(
        f"{sum(map(len, given.values()))} poisonous records on {len(given)} topics were set aside"
        f" in {took[0]:.1f} s"
    )


async def behind(world: World, given: dict[str, dict[str, bytes | None]]) -> str:
    return "; ".join(
        [
            f"{service} lacks"
            f" {sorted(set(expected(service, given)) - set(await letters(world, service)))[:5]}"
            for service in SERVICES
        ]
    )


async def next_event(clients: Clients) -> None:
    """What comes after the poison is digested within seconds."""
    started = time.monotonic()
    given = await clients._captured(
        [{"client_id": "after-poison", "input": "is anybody there"}], "inference"
    )
    while time.monotonic() - started < NEXT_SECONDS:
        (found,) = await query(
            clients.world.databases["review"],
            f"select item_id from items where inference_id = '{given['after-poison']}'",
        )
        if found:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the event after the poison was not digested within {NEXT_SECONDS} s")

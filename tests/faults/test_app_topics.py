"""An app's own topic is taken in while capture dies: each record that can be read is recorded once,
each other one is a dead letter once, whatever was killed when.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from infra.topics import admin, create
from shared.events import cloudevent_headers
from tests import factories
from tests.faults.evidence import query
from tests.faults.life import Armed
from tests.faults.scenario import seed_of_this_run
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
TOPIC = "shop.chat.completed"
PARTITIONS = 3
RECORDS = 100_000
PATIENCE = 400.0
MAPPING = f"""
topic: {TOPIC}
route: acme/support-triage
fields:
  input: /payload/q
  answer: /payload/a
  latency_ms: /took
  metadata: {{team: /team}}
"""


def broken(number: int) -> bytes:
    """What other programs put on a topic: each with its number, so that none is another."""
    kinds = (
        b"no JSON at all %d" % number,
        b'{"payload": {"q": "%d"' % number,
        b'{"payload": {"q": "hello %d"}}' % number,
        b'{"payload": {"q": "hello", "a": %d}}' % number,
        b'{"payload": {"q": "half \\ud800", "a": "%d"}}' % number,
        b"%d" % number,
        b'{"payload": "%d \xff"}' % number,
    )
    return kinds[number % len(kinds)]


def good(number: int) -> bytes:
    said = {"payload": {"q": f"question {number}", "a": f"answer {number}"}, "team": "web"}
    return json.dumps(said | {"took": -1 if number % 10 == 0 else 12}).encode()


async def fill(servers: str, count: int, seed: int) -> tuple[set[str], set[bytes]]:
    """Put the records there as a plain producer does; return the answers and what is broken."""
    chance = random.Random(seed)
    bad = set(chance.sample(range(count), count // 100))
    with admin(servers) as client:
        options = {"num_partitions": PARTITIONS, "replication_factor": 1}
        await asyncio.to_thread(create, client, {TOPIC: options})
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=20) as producer:
        for number in range(count):
            body = broken(number) if number in bad else good(number)
            await producer.send(TOPIC, body, partition=number % PARTITIONS)
        await producer.flush()
    answers = {f"answer {number}" for number in range(count) if number not in bad}
    return answers, {broken(number) for number in bad}


async def say_route(servers: str) -> None:
    event = factories.route_changed()
    headers = cloudevent_headers(event, "router")
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(
            event.topic_name(),
            event.model_dump_json().encode(),
            key=event.route.encode(),
            headers=[(name, value.encode()) for name, value in headers.items()],
        )


async def digested(world: World) -> int:
    """Count the records that have their end: an entry of the ledger, or a dead letter."""
    entries, letters = await query(
        world.databases["capture"],
        "select count(*) as n from ledger",
        f"select count(*) as n from dead_letters where topic = '{TOPIC}'",
    )
    return entries[0]["n"] + letters[0]["n"]


async def until_digested(world: World, count: int, seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while await digested(world) < count:
            await asyncio.sleep(0.2)


async def results(world: World) -> tuple[Counter[str], Counter[bytes]]:
    """Return how often each answer was recorded, and each record is a dead letter."""
    events, letters = await query(
        world.databases["capture"],
        "select payload from outbox where aggregatetype = 'inference-recorded'",
        f"select body from dead_letters where topic = '{TOPIC}'",
    )
    answers = Counter(json.loads(row["payload"])["answer"] for row in events)
    return answers, Counter(row["body"] for row in letters)


async def taken_in(
    world: World, count: int, armed: tuple[Armed, ...], at_half: bool
) -> tuple[Counter[str], Counter[bytes], float]:
    """Let capture read all while it dies as armed, and once more at some moment (`at_half`)."""
    mapping = Path(world.folder) / "mapping.yaml"
    mapping.write_text(MAPPING)
    world.own_settings["capture"] = {"sources": str(mapping)}
    started = time.monotonic()
    for number, one in enumerate(armed, start=1):
        pid = world.start("capture", armed=(one,))
        await asyncio.wait_for(world.zygote.end_of(pid), PATIENCE)
        assert await digested(world) < count, f"death {number} came too late to interrupt anything"
    world.start("capture")
    if at_half:
        await until_digested(world, count // 2)
        await world.stop("capture", signal.SIGKILL)
        assert await digested(world) < count
        world.start("capture")
    await until_digested(world, count)
    took = time.monotonic() - started
    await asyncio.sleep(1)
    await world.stop("capture")
    return *(await results(world)), took


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_an_apps_topic_is_taken_in_once_while_capture_is_killed(
    broker: Broker, new_world: NewWorld
) -> None:
    seed = seed_of_this_run(31)
    answers, bad = await fill(broker.servers, RECORDS, seed)
    await say_route(broker.servers)
    deaths = (Armed("handler.after-commit", nth=30), Armed("handler.before-commit", nth=20))
    async with new_world(broker.servers) as world:
        recorded, dead, took = await taken_in(world, RECORDS, deaths, True)
    assert recorded == Counter(answers), seed
    assert dead == Counter(bad), seed
    print(f"{RECORDS} records, {len(bad)} of them broken, taken in {took:.0f} s with three deaths")


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_batch_that_was_committed_and_not_acknowledged_comes_again(
    embedded: Broker, new_world: NewWorld, guarded: bool
) -> None:
    """The control: where nothing knows a record, the same death doubles a batch."""
    answers, bad = await fill(embedded.servers, 3000, 7)
    await say_route(embedded.servers)
    async with new_world(embedded.servers) as world:
        world.options = {"switches": () if guarded else ("no-known-records",)}
        # The first is that of the route.
        deaths = (Armed("handler.after-commit", nth=3),)
        recorded, dead, _ = await taken_in(world, 3000, deaths, False)
    assert set(recorded) == answers
    assert set(dead) == bad
    is_once = max(recorded.values()) == 1 and max(dead.values()) == 1
    assert is_once is guarded

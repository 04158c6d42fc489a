"""capture reads the topic of an app: what its mapping can read is recorded once, the rest is a dead
letter with the reason, and nothing in a record says whose it is.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import select
from typer.testing import CliRunner, Result

from infra.cli.main import app
from infra.operations.books import open_books
from infra.operations.letters import Wanted, gather
from infra.operations.settling import replay
from infra.topics import BrokerAway, lag
from schemas import topics
from services.capture.app import Parts, build
from services.capture.settings import Settings
from shared.events import records
from shared.service import Service
from shared.telemetry import CONSUMER_LAG, CONSUMER_PAUSED
from tests import factories
from tests.integration.test_bus import eventually
from tests.kafka import ApacheKafka, Broker, EmbeddedBroker

MAPPING = """
topic: TOPIC
route: acme/support-triage
id: /meta/id
fields:
  messages: /request/messages
  answer: /reply/choices/0/text
  model: /reply/model
  latency_ms: /timing/ms
  metadata: {team: /meta/team, tenant: /tenant}
"""


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "meta": {"id": number, "team": "web"},
        "tenant": "globex",
        "route": "globex/other",
        "request": {"messages": [{"role": "user", "content": f"question {number}"}]},
        "reply": {"choices": [{"text": f"answer {number}"}], "model": "m"},
        "timing": {"ms": 12},
    } | changes


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
def topic(kind: str) -> str:
    return f"shop.chat-{kind}-{random.randrange(10**9)}"


@asynccontextmanager
async def capture(
    broker: Broker, folder: Path, mapping: str, *, route: bool = True
) -> AsyncIterator[Service[Parts]]:
    (folder / "keys.json").write_text('{"keys": []}')
    (folder / "mapping.yaml").write_text(mapping)
    settings = Settings(
        kafka_bootstrap_servers=broker.servers,
        database_url=f"sqlite+aiosqlite:///{folder}/capture.db",
        artifacts_url=f"file://{folder}/artifacts",
        keys_file=folder / "keys.json",
        sources=folder / "mapping.yaml",
    )
    service = build(settings)
    await service.prepare_database()
    if route:
        await know_route(service)
    async with service.api.router.lifespan_context(service.api):
        yield service


async def know_route(service: Service[Parts]) -> None:
    async with service.db.transaction() as tx:
        await service.handlers[topics.ROUTE_CHANGED](tx, factories.route_changed())


async def put(broker: Broker, topic: str, *bodies: bytes | None, **options: Any) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.servers, **options) as producer:
        for body in bodies:
            await producer.send(topic, body, key=b"k")
        await producer.flush()


def make_topic(broker: Broker, topic: str, partitions: int = 1) -> None:
    """As the app's own people do; on the embedded log topics come by themselves."""
    if isinstance(broker, ApacheKafka):
        from infra.topics import admin, create

        options = {"num_partitions": partitions, "replication_factor": 1}
        with admin(broker.servers) as client:
            create(client, {topic: options})


async def events(service: Service[Parts]) -> list[dict[str, Any]]:
    table = service.outbox.table
    wanted = select(table.c.payload).where(table.c.aggregatetype == "inference-recorded")
    async with service.db.read() as connection:
        rows = (await connection.execute(wanted.order_by(table.c.seq))).all()
    return [json.loads(row.payload) for row in rows]


async def letters(service: Service[Parts]) -> list[Any]:
    table = service.outbox.tables.dead_letters
    async with service.db.read() as connection:
        return list((await connection.execute(select(table).order_by(table.c.seq))).all())


def settled(service: Service[Parts], taken: int, dead: int) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return (len(await events(service)), len(await letters(service))) == (taken, dead)

    return there


BROKEN = {
    "tombstone": (None, "Tombstone", "no value"),
    "no JSON": (b"hello", "RecordUnreadable", "not valid JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "RecordUnreadable", "not UTF-8"),
    "a number": (b"7", "RecordUnreadable", "no object"),
    "deep": (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "RecordUnreadable", "deep"),
    "dense": (b"[" + b"[]," * 100_001 + b"1]", "RecordUnreadable", "more lists"),
    "no answer": (as_json(record(901, reply={})), "RecordUnusable", "answer: Field required"),
    "an answer that is none": (
        as_json(record(902, reply={"choices": [{"text": 7}]})),
        "RecordUnusable",
        "answer: Input should be a valid string",
    ),
    "a NUL": (
        as_json(record(903, request={"messages": [{"role": "user", "content": "a\0b"}]})),
        "RecordUnusable",
        "NUL",
    ),
    "half a pair": (
        as_json(record(904, request={"messages": [{"role": "user", "content": "a\ud800"}]})),
        "RecordUnusable",
        "surrogate",
    ),
    "the same id, other content": (
        as_json(record(1, reply={"choices": [{"text": "something else"}]})),
        "OtherContent",
        "client_id was taken before",
    ),
}


async def test_what_can_be_read_is_recorded_and_the_rest_is_a_dead_letter(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_topic(broker, topic)
    good = [as_json(record(number)) for number in range(1, 6)]
    side = as_json(record(6, timing={"ms": -1}, meta={"id": 6, "team": None}))
    async with capture(broker, tmp_path, MAPPING.replace("TOPIC", topic)) as service:
        await put(broker, topic, *good, good[0], side, *(body for body, _, _ in BROKEN.values()))
        await eventually(settled(service, 6, len(BROKEN)))
        found = await letters(service)
    recorded = await events(service)
    assert {event["tenant"] for event in recorded} == {"acme"}
    assert {event["route"] for event in recorded} == {"acme/support-triage"}
    assert [event["answer"] for event in recorded] == [f"answer {n}" for n in range(1, 7)]
    assert recorded[0]["metadata"] == {"team": "web", "tenant": "globex"}
    assert (recorded[5]["latency_ms"], recorded[5]["metadata"]) == (None, {"tenant": "globex"})
    reasons = dict(zip(BROKEN, found, strict=True))
    for name, (body, error, says) in BROKEN.items():
        assert (reasons[name].body, reasons[name].error_type) == (body, error), name
        assert says in reasons[name].error, (name, reasons[name].error)
        assert reasons[name].cause == "unreadable", "poison from outside pauses nobody"


async def test_a_header_that_repeats_is_no_id_and_a_mended_letter_is_taken_once(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    """Many apps send the same headers with each record; an operator gives a letter back."""
    make_topic(broker, topic)
    mapping = MAPPING.replace("TOPIC", topic).replace("id: /meta/id\n", "")
    async with AIOKafkaProducer(bootstrap_servers=broker.servers) as producer:
        for number in range(3):
            headers = [("id", b"order-service"), ("ce_id", b"1")]
            await producer.send_and_wait(topic, as_json(record(number)), headers=headers)
        await producer.send_and_wait(topic, as_json({"reply": {}}), headers=headers)
    async with capture(broker, tmp_path, mapping) as service:
        await eventually(settled(service, 3, 1))
    async with (
        capture(broker, tmp_path, mapping.replace("/reply/choices/0/text", "/reply")) as service,
        open_books({"capture": service.settings.database_url}) as books,
    ):
        found = await gather(books, Wanted(topic=topic))
        assert [letter.state for letter in found] == ["open"]
        [outcome] = await replay(books, broker.servers, found, 30)
        assert outcome.outcome == "dead-lettered again", outcome
        assert len(await events(service)) == 3


async def test_records_wait_for_their_route(broker: Broker, topic: str, tmp_path: Path) -> None:
    make_topic(broker, topic)
    await put(broker, topic, *(as_json(record(number)) for number in range(20)))
    async with capture(broker, tmp_path, MAPPING.replace("TOPIC", topic), route=False) as service:

        async def says_so() -> bool:
            paused = (await service.ready())["paused"]
            return "no route 'acme/support-triage'" in paused.get(topic, "")

        await eventually(says_so)
        assert (await events(service), await letters(service)) == ([], [])
        await know_route(service)
        await eventually(settled(service, 20, 0))


async def test_a_topic_that_is_not_there_yet_holds_nobody_up(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    async with capture(broker, tmp_path, MAPPING.replace("TOPIC", topic)) as service:
        await eventually(lambda: consumes(service))
        make_topic(broker, topic)
        await put(broker, topic, as_json(record(1)))
        await eventually(settled(service, 1, 0))


async def consumes(service: Service[Parts]) -> bool:
    return service.consuming


async def test_operators_see_an_apps_topic_and_can_have_it_read_again(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_topic(broker, topic)
    await put(broker, topic, *(as_json(record(number)) for number in range(1, 6)), b"no JSON")
    mapping = MAPPING.replace("TOPIC", topic)

    async def behind() -> int:
        try:
            return (await asyncio.to_thread(lag, broker.servers, [topic]))["capture"][topic]
        except BrokerAway:  # a fresh cluster that is choosing who keeps the groups
            return -1

    async with capture(broker, tmp_path, mapping, route=False) as service:
        assert (await service.ready())["sources"] == {topic: "acme/support-triage"}
        await eventually(lambda: is_true(behind, 6))
        assert (await events(service), await letters(service)) == ([], []), "it waits for its route"
        await know_route(service)
        await eventually(settled(service, 5, 1))
        counted = {"accepted": 5, "duplicates": 0, "rejected": 1}
        assert service.parts.intake.tally.of("acme") == counted
        await service.health._measure()
        assert CONSUMER_LAG.labels(topic, 0)._value.get() == 0
    assert await behind() == 0
    arguments = ["replay", "capture", "--servers", broker.servers, "--stopped", "--from"]
    refused = await invoke(*arguments, "shop.unknown/0/2")
    assert (refused.exit_code, "no place in the log" in " ".join(refused.output.split())) == (
        1,
        True,
    )
    dry = await invoke(*arguments, f"{topic}/0/2", "--dry-run")
    assert f"would read 4 records of {topic} again" in dry.output, dry.output
    assert (await behind(), (await invoke(*arguments, "beginning")).exit_code) == (0, 0)
    assert await behind() == 6
    async with capture(broker, tmp_path, mapping) as service:
        await eventually(lambda: is_true(behind, 0))
        assert await settled(service, 5, 1)(), "what had its effect has none again"


async def invoke(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def is_true(count: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await count() == wanted


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_mapping_that_fits_no_record_waits_for_another(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """The control: without the pause all of the topic becomes dead letters."""
    if not guarded:
        monkeypatch.setattr(records, "MOST_UNFIT", 10**6)
    make_topic(broker, topic)
    await put(broker, topic, *(as_json(record(number)) for number in range(150)))
    right = MAPPING.replace("TOPIC", topic)
    wrong = right.replace("/reply/choices/0/text", "/answer")
    for _ in range(2):
        async with capture(broker, tmp_path, wrong) as service:
            if not guarded:
                await eventually(settled(service, 0, 150))
                return
            await eventually(lambda: says(service, topic, "ratchet capture map"))
            assert await settled(service, 0, 100)(), "also after a restart"
            assert CONSUMER_PAUSED.labels(topic)._value.get() == 1
            assert await says(service, topic, "none of 100 records could be taken (answer: Field")
    async with (
        capture(broker, tmp_path, right) as service,
        open_books({"capture": service.settings.database_url}) as books,
    ):
        await eventually(settled(service, 50, 100))
        assert (await service.ready())["paused"] == {}
        found = await gather(books, Wanted(topic=topic))
        outcomes = await replay(books, broker.servers, found, 30)
        assert {outcome.outcome for outcome in outcomes} == {"handled"}
        await eventually(settled(service, 150, 100))


async def says(service: Service[Parts], topic: str, words: str) -> bool:
    return words in (await service.ready())["paused"].get(topic, "")


@pytest.mark.parametrize("compression", ["gzip", "lz4", "snappy", "zstd"])
async def test_what_an_apps_producer_compresses_is_read(
    broker: Broker, topic: str, tmp_path: Path, compression: str
) -> None:
    if compression != "gzip":
        pytest.importorskip("cramjam", reason="make venv: aiokafka decompresses with it")
    make_topic(broker, topic)
    async with capture(broker, tmp_path, MAPPING.replace("TOPIC", topic)) as service:
        await put(broker, topic, as_json(record(1)), compression_type=compression)
        await eventually(settled(service, 1, 0))


async def test_a_log_that_was_lost_gives_its_places_to_new_records(tmp_path: Path) -> None:
    """The embedded log keeps records in memory: after its death an app's next record stands where
    another stood, and is no repeat of that.
    """
    mapping = MAPPING.replace("TOPIC", "shop.chat").replace("id: /meta/id\n", "")
    with EmbeddedBroker(tmp_path / "broker") as broker:
        async with capture(broker, tmp_path, mapping) as service:
            await put(broker, "shop.chat", *(as_json(record(n)) for n in range(5)))
            await eventually(settled(service, 5, 0))
            await asyncio.to_thread(broker.stop)
            await asyncio.to_thread(broker.start)
            await put(broker, "shop.chat", *(as_json(record(n)) for n in range(5, 12)))
            await eventually(settled(service, 12, 0))
            asked = {event["messages"][0]["content"] for event in await events(service)}
    assert asked == {f"question {number}" for number in range(12)}


def test_the_command_shows_what_a_mapping_would_make(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_topic(broker, topic, 2)
    file = tmp_path / "mapping.yaml"
    file.write_text(MAPPING.replace("TOPIC", topic))
    secret = record(3, reply={"choices": [{"text": "mail ada@example.com"}], "model": None})
    bodies = [as_json(record(1)), as_json(record(2)), as_json(secret), b"no JSON", b"nor this"]
    asyncio.run(put(broker, topic, *bodies))
    arguments = ["capture", "map", str(file), "--servers", broker.servers]
    shown = CliRunner().invoke(app, [*arguments, "--sample", "50"])
    assert shown.exit_code == 1, shown.output
    assert "question 1" in shown.output
    assert "[EMAIL]" in shown.output and "ada@" not in shown.output
    assert "left out 1 ×  model: is null: 'external' is recorded" in shown.output
    assert "5 records: 3 would be taken, 2 not" in shown.output
    found = json.loads(CliRunner().invoke(app, [*arguments, "--sample", "2", "--json"]).output)
    assert [(one["records"], one["taken"]) for one in found] == [(2, 0)]
    assert list(found[0]["reasons"].values()) == [2]
    file.write_text("topic: x")
    refused = CliRunner().invoke(app, arguments)
    assert (refused.exit_code, "is no mapping of an app's topic" in refused.output) == (1, True)

"""The sender on a real broker: whole record batches, and yet the partition of each key, its order
and each place as Kafka's clients have them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import FEEDBACK_RECORDED
from shared.events import kafka_sender
from shared.events.kafka_sender import KafkaSender
from shared.events.sending import BrokerUnavailable, Place
from tests.integration.test_bus import everything_on
from tests.kafka import Broker, EmbeddedBroker

TOPIC = FEEDBACK_RECORDED.name


@dataclass
class Row:
    seq: int
    aggregateid: str | None
    payload: bytes | None
    id: str = ""
    aggregatetype: str = TOPIC
    headers: str = '{"ce_id": "x", "content-type": "application/json"}'


def rows(count: int, keys: int, size: int = 10) -> list[Row]:
    return [
        Row(number, f"key-{number % keys}", f"{number:0{size}}".encode(), id=f"row-{number}")
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "batch_bytes", [kafka_sender.BATCH_BYTES, 400], ids=["one batch", "many batches"]
)
async def test_each_key_keeps_its_order_and_each_place_is_true(
    broker: Broker, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sender, "BATCH_BYTES", batch_bytes)
    sender = KafkaSender(broker.servers, "test")
    sent = rows(200, keys=7)
    try:
        more = [
            Row(999, None, b"unkeyed", id="row-999"),
            Row(1000, "key-1", b"x" * 2000, id="row-1000"),
        ]
        places = await placed(sender, sent) + await placed(sender, more)
    finally:
        await sender.close()
    sent += more
    stands = {
        (record.partition, record.offset): record
        for record in await everything_on(broker.servers, TOPIC)
    }
    assert [stands[place].value for place in places] == [row.payload for row in sent]
    assert dict(stands[places[0]].headers) == {
        "id": b"row-0",
        "ce_id": b"x",
        "content-type": b"application/json",
    }
    for key in {row.aggregateid for row in sent} - {None}:
        mine = [place for row, place in zip(sent, places, strict=True) if row.aggregateid == key]
        assert mine == sorted(mine)


async def test_a_key_goes_where_every_other_client_puts_it(broker: Broker) -> None:
    sender = KafkaSender(broker.servers, "test")
    keys = [f"inf_{number}" for number in range(50)]
    try:
        ours = [Row(number, key, b"ours") for number, key in enumerate(keys)]
        places = await placed(sender, ours)
    finally:
        await sender.close()
    async with AIOKafkaProducer(bootstrap_servers=broker.servers) as producer:
        theirs = [await producer.send_and_wait(TOPIC, b"theirs", key=key.encode()) for key in keys]
    assert [place.partition for place in places] == [record.partition for record in theirs]


async def test_a_log_that_gives_a_producer_id_twice_swallows_nothing(tmp_path: Path) -> None:
    """The embedded log begins to count producers anew after a crash: a second one is then taken for
    a first one that lives on.
    """
    with EmbeddedBroker(tmp_path / "log") as broker:
        old = KafkaSender(broker.servers, "old")
        new = KafkaSender(broker.servers, "new")
        try:
            await placed(old, [Row(0, "key-0", b"before the crash")])
            broker.kill()
            await asyncio.to_thread(broker.start)
            await sent_at_last(
                old, [Row(number, "key-1", b"old", id=f"old-{number}") for number in range(20)]
            )
            for number in range(10):
                await placed(new, [Row(number, "key-1", b"new", id=f"new-{number}")])
            held = [record.value for record in await everything_on(broker.servers, TOPIC)]
        finally:
            await old.close()
            await new.close()
    assert held.count(b"new") == 10


async def placed(sender: KafkaSender, some: list[Row]) -> list[Place]:
    delivery = await sender.send(some)
    if delivery.error:
        raise delivery.error
    assert not delivery.refused
    return [delivery.places[row.seq] for row in some]


async def sent_at_last(sender: KafkaSender, some: list[Row]) -> None:
    """As a relay does."""
    while True:
        try:
            for row in some:
                await placed(sender, [row])
            return
        except BrokerUnavailable:
            await asyncio.sleep(0.2)

"""The sender on a real broker: whole record batches, and yet the partition of each key, its order and each place as Kafka's clients have them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import FEEDBACK_RECORDED
from shared import kafka_sender
from shared.kafka_sender import KafkaSender
from tests.integration.test_bus import everything_on
from tests.kafka import Broker

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
        Row(number, f"key-{number % keys}", f"{number:0{size}}".encode(), id=f"row-{number}") for number in range(count)
    ]


@pytest.mark.parametrize("batch_bytes", [kafka_sender.BATCH_BYTES, 400], ids=["one batch", "many batches"])
async def test_each_key_keeps_its_order_and_each_place_is_true(
    broker: Broker, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sender, "BATCH_BYTES", batch_bytes)
    sender, sent = KafkaSender(broker.servers, "test"), rows(200, keys=7)
    try:
        places = await sender.send(sent) + await sender.send(
            [Row(999, None, b"unkeyed", id="row-999"), Row(1000, "key-1", b"x" * 2000, id="row-1000")]
        )
    finally:
        await sender.close()
    sent += [Row(999, None, b"unkeyed"), Row(1000, "key-1", b"x" * 2000)]
    stands = {(record.partition, record.offset): record for record in await everything_on(broker.servers, TOPIC)}
    assert [stands[place].value for place in places] == [row.payload for row in sent]
    assert dict(stands[places[0]].headers) == {"id": b"row-0", "ce_id": b"x", "content-type": b"application/json"}
    for key in {row.aggregateid for row in sent} - {None}:
        mine = [place for row, place in zip(sent, places, strict=True) if row.aggregateid == key]
        assert mine == sorted(mine)


async def test_a_key_goes_where_every_other_client_puts_it(broker: Broker) -> None:
    sender, keys = KafkaSender(broker.servers, "test"), [f"inf_{number}" for number in range(50)]
    try:
        places = await sender.send([Row(number, key, b"ours") for number, key in enumerate(keys)])
    finally:
        await sender.close()
    async with AIOKafkaProducer(bootstrap_servers=broker.servers) as producer:
        theirs = [await producer.send_and_wait(TOPIC, b"theirs", key=key.encode()) for key in keys]
    assert [place.partition for place in places] == [record.partition for record in theirs]

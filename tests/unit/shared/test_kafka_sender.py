"""What a row's headers become; the rest of the sender is tested on real brokers
(tests/integration/test_sender.py).
"""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaTimeoutError

from shared.events.kafka_sender import KafkaSender, headers_of


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("plain", b"plain"),
        ("zwölf", "zwölf".encode()),
        ("half of a pair: \ud800", b"half of a pair: ?"),
    ],
    ids=["plain", "utf-8", "surrogate"],
)
def test_headers_are_bytes_whatever_was_in_them(said: str, sent: bytes) -> None:
    row = SimpleNamespace(id="event-1", headers=json.dumps({"x-error": said, "id": "another"}))
    assert headers_of(row) == [("id", b"event-1"), ("x-error", sent)]


class OneRecord:
    """A batch that is full with its first record."""

    held = 0

    def append(self, **_: object) -> object:
        self.held += 1
        return self if self.held == 1 else None

    def close(self) -> None: ...


class FailingProducer:
    queued = 0
    create_batch = staticmethod(OneRecord)

    async def send_batch(self, *_: object, **__: object) -> asyncio.Future:
        self.queued += 1
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(KafkaTimeoutError())
        return answer


async def test_what_follows_a_batch_that_failed_is_not_sent_before_it() -> None:
    rows = [
        SimpleNamespace(seq=n, id=str(n), aggregateid="key", payload=b"x", headers="{}")
        for n in range(3)
    ]
    producer = FailingProducer()
    with pytest.raises(KafkaTimeoutError):
        await KafkaSender("", "test")._send_to(producer, ("topic", 0), rows, {}, {})
    assert producer.queued == 1

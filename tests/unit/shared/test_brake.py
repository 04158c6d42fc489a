"""A release that breaks a handler stops its consumer; poison from outside never does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faststream.kafka import KafkaMessage
from sqlalchemy import MetaData, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas import topics
from schemas.events import DatasetBuilt
from shared.clock import now
from shared.events import brake, consume
from shared.events.brake import RUN, SHARE, WINDOW, ConsumerPaused
from shared.events.consume import TopicConsumer
from shared.events.log_guard import Partition
from shared.events.outbox import Outbox
from shared.storage.db import Database
from tests import factories


class Intact:
    """A guard over a log that lost nothing."""

    async def lost(self, *_: Any) -> Collection[Partition]:
        return ()


class Consumption:
    """One consumer of one partition, fed by hand."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.outbox = Outbox("trainer", MetaData())
        self.broken = True
        self.handled = 0
        self.offset = 0
        self.restart()

    def restart(self) -> None:
        """As a new process: what it knows is what the database says."""
        self.consumer = TopicConsumer(
            topics.DATASET_BUILT, self.on_dataset_built, self.db, self.outbox, Intact()
        )

    async def on_dataset_built(self, tx: AsyncConnection, event: DatasetBuilt) -> None:
        if self.broken:
            raise ValueError("a release with a fault")
        self.handled += 1

    async def read(self, *bodies: bytes) -> None:
        records = [self._record(body) for body in bodies]
        await self.consumer.digest(message_of(records))

    def _record(self, body: bytes) -> ConsumerRecord:
        self.offset += 1
        return ConsumerRecord(
            "dataset-built", 0, self.offset, 0, 0, b"acme/support", body, 0, 1, len(body), ()
        )

    async def letters(self) -> int:
        async with self.db.read() as connection:
            counted = select(func.count()).select_from(self.outbox.tables.dead_letters)
            return (await connection.execute(counted)).scalar_one()


def message_of(records: Sequence[ConsumerRecord]) -> KafkaMessage:
    return KafkaMessage(raw_message=tuple(records), body=b"", consumer=None)


def valid() -> bytes:
    return factories.dataset().model_dump_json().encode()


@pytest.fixture
async def consumption(db: Database, monkeypatch: pytest.MonkeyPatch) -> Consumption:
    monkeypatch.setattr(consume, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(brake, "LOOK_SECONDS", -1.0)  # look at the database every time
    made = Consumption(db)
    metadata = made.outbox.inbox.metadata
    await db.create_tables(metadata)
    return made


async def resume(consumption: Consumption) -> None:
    async with consumption.db.transaction() as tx:
        await tx.execute(update(consumption.outbox.tables.pauses).values(resumed_at=now()))


async def test_a_run_of_our_own_failures_pauses_the_consumer(consumption: Consumption) -> None:
    for _ in range(RUN):
        await consumption.read(valid())
    assert await consumption.letters() == RUN
    with pytest.raises(ConsumerPaused, match=r"failed on the last 10 events.*consumers resume"):
        await consumption.read(valid())
    consumption.restart()
    with pytest.raises(ConsumerPaused):
        await consumption.read(valid())
    assert await consumption.letters() == RUN, "what comes after waits on the log"


async def test_without_the_brake_every_event_becomes_a_dead_letter(
    consumption: Consumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(brake, "RUN", 10**9)
    monkeypatch.setattr(brake, "SHARE", 2.0)
    for _ in range(3 * RUN):
        await consumption.read(valid())
    assert await consumption.letters() == 3 * RUN


async def test_poison_from_outside_never_pauses(consumption: Consumption) -> None:
    for number in range(3 * RUN):
        await consumption.read(b'{"no": %d}' % number)
    consumption.broken = False
    await consumption.read(valid())
    assert (await consumption.letters(), consumption.handled) == (3 * RUN, 1)


async def test_poison_between_our_own_failures_does_not_hide_them(
    consumption: Consumption,
) -> None:
    with pytest.raises(ConsumerPaused, match="failed on the last 10 events"):
        for number in range(2 * RUN + 1):
            await consumption.read(valid(), b'{"no": %d}' % number)
    assert consumption.handled == 0


async def test_a_share_of_failures_pauses_although_others_succeed(consumption: Consumption) -> None:
    with pytest.raises(ConsumerPaused, match=r"failed on \d+ of the last"):
        for number in range(2 * WINDOW):
            consumption.broken = number % 4 == 0
            await consumption.read(valid())
    assert await consumption.letters() == int(SHARE * WINDOW) + 1


async def test_now_and_then_a_failure_pauses_nothing(consumption: Consumption) -> None:
    for number in range(2 * WINDOW):
        consumption.broken = number % 20 == 0
        await consumption.read(valid())
    assert await consumption.letters() == 2 * WINDOW // 20


async def test_an_operator_resumes_it_and_what_was_before_does_not_count(
    consumption: Consumption,
) -> None:
    for _ in range(RUN):
        await consumption.read(valid())
    await resume(consumption)
    await consumption.read(valid())
    consumption.broken = False
    await consumption.read(valid())
    assert (await consumption.letters(), consumption.handled) == (RUN + 1, 1)


async def test_another_version_goes_on_by_itself(
    consumption: Consumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(RUN):
        await consumption.read(valid())
    monkeypatch.setattr(brake, "VERSION", "next")
    consumption.broken = False
    consumption.restart()
    await consumption.read(valid())
    assert consumption.handled == 1

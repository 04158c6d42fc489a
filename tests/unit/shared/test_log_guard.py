"""A lost partition is begun again, and its loss is forgotten only when the group knows the new
place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from sqlalchemy import MetaData

from shared.events.log_guard import ConsumerGuard, Newest, Partition
from shared.events.outbox import Outbox
from shared.events.sending import Place
from shared.storage.db import Database

HERE = Partition("dataset-built", 3)
FIRST_OFFSET = 7


class ForgetfulLog:
    """Has lost whatever it is asked for."""

    def __init__(self) -> None:
        self.readings = 0

    async def lost(self, ends) -> dict[Partition, int]:
        self.readings += 1
        return dict.fromkeys(ends, FIRST_OFFSET)

    async def newest(self, places) -> Newest:
        return Newest({}, dict(places))


class Consumer:
    """Of one partition, in a group that is changing as long as there is `trouble`."""

    def __init__(self, *trouble: KafkaError) -> None:
        self.trouble: Iterator[KafkaError | None] = chain(trouble, repeat(None))
        self.sought: list[Any] = []
        self.committed: list[Any] = []

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(*HERE)}

    def seek(self, at: TopicPartition, offset: int) -> None:
        self.sought.append((at, offset))

    async def commit(self, offsets) -> None:
        if error := next(self.trouble):
            raise error
        self.committed.append(offsets)


@pytest.fixture
async def outbox(db: Database) -> Outbox:
    outbox = Outbox("trainer", metadata := MetaData())
    await db.create_tables(metadata)
    async with db.transaction() as tx:
        await outbox.first_time(tx, HERE.topic, "an-event", Place(HERE.number, 40))
    return outbox


async def known(db: Database, outbox: Outbox) -> tuple[str, int] | None:
    async with db.read() as connection:
        return await outbox.last_seen(connection, *HERE)


async def test_a_lost_partition_is_begun_again_once(db: Database, outbox: Outbox) -> None:
    log = ForgetfulLog()
    consumer = Consumer()
    guard = ConsumerGuard(db, outbox, log)
    assert await guard.lost(consumer, [HERE])
    assert not await guard.lost(consumer, [HERE])
    assert consumer.sought == [(TopicPartition(*HERE), FIRST_OFFSET)]
    assert consumer.committed == [{TopicPartition(*HERE): FIRST_OFFSET}]
    assert (await known(db, outbox), log.readings) == (None, 1)


@pytest.mark.parametrize("trouble", [CommitFailedError(), IllegalStateError()])
async def test_while_partitions_change_hands_the_loss_is_not_forgotten(
    db: Database, outbox: Outbox, trouble: KafkaError
) -> None:
    guard = ConsumerGuard(db, outbox, ForgetfulLog())
    consumer = Consumer(trouble)
    assert await guard.lost(consumer, [HERE])
    assert await known(db, outbox) == (
        "an-event",
        40,
    ), "a process that dies now must find the loss again"
    await guard.sweep([consumer])
    assert await known(db, outbox) is None
    assert consumer.committed == [{TopicPartition(*HERE): FIRST_OFFSET}]
    assert not await guard.lost(consumer, [HERE])

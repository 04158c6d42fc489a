"""Effects, inbox and outbox commit together, on SQLite and on Postgres."""

import pytest
from sqlalchemy import MetaData, insert
from sqlalchemy.exc import DBAPIError

from shared.events.outbox import Outbox, UndeclaredEvent
from shared.events.relay import Relay
from shared.events.sending import Delivery, Place
from shared.storage.db import Database
from tests import factories


class RecordingSender:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, rows) -> Delivery:
        self.sent += [row.id for row in rows]
        return Delivery({row.seq: Place(0, row.seq) for row in rows})

    async def close(self) -> None: ...


@pytest.fixture
async def outbox(db: Database) -> Outbox:
    metadata = MetaData()
    outbox = Outbox("trainer", metadata)
    await db.create_tables(metadata)
    return outbox


async def test_relay_publishes_each_committed_event_once_and_in_order(
    db: Database, outbox: Outbox
) -> None:
    events = [factories.trained() for _ in range(5)]
    async with db.transaction() as tx:
        await outbox.add(tx, *events)
    relay = Relay(db, outbox, RecordingSender())
    assert await relay.pending() == 5
    assert await relay.drain_once() == 5
    assert await relay.drain_once() == 0
    assert relay.sender.sent == [event.event_id for event in events]


async def test_rolled_back_effect_publishes_nothing(db: Database, outbox: Outbox) -> None:
    with pytest.raises(RuntimeError):
        async with db.transaction() as tx:
            await outbox.add(tx, factories.trained())
            raise RuntimeError
    assert await Relay(db, outbox, RecordingSender()).drain_once() == 0


async def test_an_event_is_digested_once(db: Database, outbox: Outbox) -> None:
    async with db.transaction() as tx:
        assert await outbox.first_time(tx, "dataset-built", "e1")
        assert not await outbox.first_time(tx, "dataset-built", "e1")
        assert await outbox.first_time(tx, "dataset-built", "e2")


async def test_a_service_cannot_publish_what_the_map_does_not_grant(
    db: Database, outbox: Outbox
) -> None:
    with pytest.raises(UndeclaredEvent, match="trainer may not publish RouteChanged"):
        async with db.transaction() as tx:
            await outbox.add(tx, factories.route_changed())


async def test_an_error_of_the_database_tells_no_content(db: Database, outbox: Outbox) -> None:
    """Its words go into logs, into DLQ headers and beside failed jobs."""
    with pytest.raises(DBAPIError) as raised:
        async with db.transaction() as tx:
            await tx.execute(insert(outbox.inbox), {"topic": "my secret message", "event_id": None})
    assert "my secret message" not in str(raised.value)

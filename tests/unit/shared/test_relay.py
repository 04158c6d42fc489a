"""One relay works at a time, another takes over; sent rows are kept for their time; a lost log is
filled in order.
"""

from datetime import timedelta

import pytest
from sqlalchemy import MetaData, select, update

from schemas.events import RouteChanged
from shared.clock import now
from shared.events.dead_letters import DeadLetter
from shared.events.housekeeping import INBOX_KEEP, Housekeeping
from shared.events.log_guard import Newest, Partition
from shared.events.outbox import Outbox
from shared.events.relay import LEASE_SECONDS, Relay, lease_table
from shared.events.sending import Delivery, Place
from shared.events.tables import DEAD_LETTERED
from shared.storage.db import Database
from tests import factories


class MemoryLog:
    """Sender and reader of a log that can forget: one partition, ids in order; `start` moves as
    retention drops its head.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.start = 0

    async def send(self, rows) -> Delivery:
        self.ids += [row.id for row in rows]
        first = len(self.ids) - len(rows)
        return Delivery({row.seq: Place(0, first + i) for i, row in enumerate(rows)})

    async def lost(self, ends) -> dict[Partition, int]:
        return {
            at: self.start
            for at, (event_id, offset) in ends.items()
            if offset >= self.start and self.ids[offset : offset + 1] != [event_id]
        }

    async def newest(self, places) -> Newest:
        return Newest({}, dict(places))

    async def close(self) -> None: ...


def a_letter(event_id: str) -> DeadLetter:
    return DeadLetter(
        topic="dataset-built",
        event_id=event_id,
        key=None,
        body=b"",
        headers={},
        partition=0,
        offset=1,
        is_unreadable=True,
        error_type="ValidationError",
        error="",
        attempts=1,
        failed_at=now(),
    )


class Rig:
    def __init__(self, db: Database, service: str = "trainer") -> None:
        self.db = db
        metadata = MetaData()
        self.outbox = Outbox(service, metadata)
        self.lease = lease_table(metadata)
        self.log = MemoryLog()
        self.metadata = metadata

    def relay(self, owner: str = "one") -> Relay:
        return Relay(self.db, self.outbox, self.log, self.log, self.lease, owner)

    async def publish(self, *events) -> list[str]:
        async with self.db.transaction() as tx:
            await self.outbox.add(tx, *events)
        relay = self.relay()
        await relay.find_losses()
        while await relay.drain_once():
            pass
        return [event.event_id for event in events]


@pytest.fixture
async def rig(db: Database) -> Rig:
    rig = Rig(db)
    await db.create_tables(rig.metadata)
    return rig


async def test_one_relay_leads_and_its_own_restart_need_not_wait(rig: Rig) -> None:
    first = rig.relay("one")
    second = rig.relay("two")
    assert await first.leads()
    assert not await second.leads()
    assert await rig.relay("one").leads(), "a restarted process has its lease again at once"
    await first.stop()
    assert await second.leads()


async def test_a_lease_ends_by_the_clock_of_the_database(rig: Rig) -> None:
    await rig.relay("dead").leads()
    async with rig.db.transaction() as tx:
        await tx.execute(
            update(rig.lease).values(lease_until=rig.lease.c.lease_until - LEASE_SECONDS - 1)
        )
    assert await rig.relay("two").leads()
    assert not await rig.relay("dead").leads()


async def test_what_the_log_lost_is_sent_again_in_order(rig: Rig) -> None:
    ids = await rig.publish(*(factories.trained() for _ in range(6)))
    rig.log.ids = ids[:3]
    later = await rig.publish(factories.trained())
    assert rig.log.ids == [*ids[:3], *ids[3:], *later]


async def test_a_log_that_grew_again_is_told_by_its_content(rig: Rig) -> None:
    ids = await rig.publish(*(factories.trained() for _ in range(3)))
    rig.log.ids = [f"foreign-{i}" for i in range(50)]
    await rig.publish()
    assert rig.log.ids[50:] == ids


async def test_what_retention_dropped_is_not_sent_again(rig: Rig) -> None:
    ids = await rig.publish(*(factories.trained() for _ in range(4)))
    # the log begins at offset 2 and lost its last event
    rig.log.start = 2
    rig.log.ids = [*ids[:2], ids[2]]
    await rig.publish()
    assert rig.log.ids == [*ids[:3], ids[3]]


async def test_of_a_compacted_topic_only_the_newest_state_is_sent_again(db: Database) -> None:
    rig = Rig(db, "router")
    await db.create_tables(rig.metadata)
    states = [factories.route_changed(version=version) for version in (1, 2, 3)]
    ids = await rig.publish(*states)
    rig.log.ids = []
    await rig.publish()
    assert rig.log.ids == ids[-1:]
    assert isinstance(states[0], RouteChanged)


async def test_sent_events_and_digested_ids_are_kept_for_their_time(rig: Rig) -> None:
    ids = await rig.publish(factories.trained(), factories.trained())
    async with rig.db.transaction() as tx:
        await rig.outbox.add(tx, factories.trained())
        for name in ("new", "old", "poison"):
            await rig.outbox.first_time(tx, "dataset-built", name)
        await rig.outbox.dead_letter(tx, a_letter("poison"))
        old = rig.outbox.inbox.c.event_id.in_(("old", "poison"))
        await tx.execute(
            update(rig.outbox.inbox)
            .where(old)
            .values(received_at=now() - INBOX_KEEP - timedelta(days=1))
        )
        await tx.execute(
            update(rig.outbox.table)
            .where(rig.outbox.table.c.id == ids[0])
            .values(sent_at=now() - timedelta(hours=73))
        )
    await Housekeeping(rig.relay(), outbox_keep_hours=72).once()
    async with rig.db.read() as connection:
        kept = [
            row.id
            for row in await connection.execute(
                select(rig.outbox.table.c.id).order_by(rig.outbox.table.c.seq)
            )
        ]
        digested = {
            row.event_id: row.outcome for row in await connection.execute(select(rig.outbox.inbox))
        }
    assert (ids[0] in kept, ids[1] in kept, len(kept)) == (False, True, 3)
    assert digested == {"new": "handled", "poison": DEAD_LETTERED}


async def test_a_dead_letter_is_let_in_again_only_when_replayed(rig: Rig) -> None:
    async with rig.db.transaction() as tx:
        assert await rig.outbox.first_time(tx, "dataset-built", "e", Place(0, 1))
        await rig.outbox.dead_letter(tx, a_letter("e"))
    async with rig.db.transaction() as tx:
        assert not await rig.outbox.first_time(tx, "dataset-built", "e", Place(0, 2))
        assert await rig.outbox.first_time(tx, "dataset-built", "e", Place(0, 3), replayed=True)
        assert not await rig.outbox.first_time(
            tx, "dataset-built", "e", Place(0, 4), replayed=True
        ), "it was digested now"
        assert await rig.outbox.last_seen(tx, "dataset-built", 0) == ("e", 4)

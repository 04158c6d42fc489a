"""What enters an outbox, what leaves it and what stays: on both databases, a log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import MetaData, func, select, update

from schemas.topics import LARGEST_EVENT_BYTES
from shared.clock import now
from shared.events import health, lanes, losses
from shared.events.backlog import BacklogFull
from shared.events.dead_letters import DeadLetter
from shared.events.healing import Healing
from shared.events.housekeeping import Housekeeping
from shared.events.log_guard import Newest, Partition
from shared.events.outbox import EventTooLarge, Outbox
from shared.events.relay import Relay
from shared.events.sending import BrokerUnavailable, Delivery, OutboxRow, Place, TopicClosed
from shared.storage.db import Database
from tests import factories

TRAINED = "adapter-trained"


class ScriptedLog:
    """A sender that does with each topic what it is told: take, refuse every third row, be shut, or
    never answer.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.does: dict[str, str] = {}

    async def send(self, rows: Sequence[OutboxRow]) -> Delivery:
        does = self.does.get(rows[0].aggregatetype)
        if does == "silent":
            await asyncio.sleep(3600)
        if does == "shut":
            return Delivery(error=TopicClosed(rows[0].aggregatetype, "is missing"))
        if does == "away":
            return Delivery(error=BrokerUnavailable(ConnectionError()))
        refused = {row.seq: "too large" for row in rows[2::3]} if does == "refuses" else {}
        taken = [row for row in rows if row.seq not in refused]
        self.ids += [row.id for row in taken]
        return Delivery({row.seq: Place(0, row.seq) for row in taken}, refused)

    async def close(self) -> None: ...


class Rig:
    def __init__(self, db: Database, service: str) -> None:
        self.db = db
        self.metadata = MetaData()
        self.outbox = Outbox(service, self.metadata)
        self.log = ScriptedLog()
        self.relay = Relay(db, self.outbox, self.log)

    async def add(self, *events) -> list[str]:
        async with self.db.transaction() as tx:
            await self.outbox.add(tx, *events)
        return [event.event_id for event in events]


@pytest.fixture
async def rig(db: Database) -> Rig:
    rig = Rig(db, "trainer")
    await db.create_tables(rig.metadata)
    return rig


@pytest.fixture
async def router(db: Database) -> Rig:
    rig = Rig(db, "router")
    await db.create_tables(rig.metadata)
    return rig


@pytest.mark.parametrize("character", ["x", "\0", "\N{GRINNING FACE}", '"'])
async def test_the_encoded_size_decides_what_enters(rig: Rig, character: str) -> None:
    """250,000 control characters are 250 KB in memory and 1.5 MB in JSON."""
    encoded = len(factories.trained(job_id=character).model_dump_json()) - len(
        factories.trained(job_id="").model_dump_json()
    )
    encoded = max(encoded, len(character.encode()))
    too_many = LARGEST_EVENT_BYTES // encoded
    with pytest.raises(EventTooLarge, match="send less text"):
        await rig.add(factories.trained(job_id=character * too_many))
    assert await rig.relay.pending() == 0
    await rig.add(factories.trained(job_id=character * (too_many - 2000)))
    assert await rig.relay.drain_once() == 1


async def test_refused_rows_are_parked_and_the_others_are_sent_once(rig: Rig) -> None:
    ids = await rig.add(*(factories.trained() for _ in range(9)))
    rig.log.does[TRAINED] = "refuses"
    while await rig.relay.drain_once():
        pass
    state = await rig.relay.state()
    assert (state.parked, state.pending) == (3, 0)
    assert rig.log.ids == [one for number, one in enumerate(ids) if number % 3 != 2]


async def test_a_shut_topic_or_a_silent_one_holds_up_no_other(
    router: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "PATIENCE_SECONDS", 0.05)
    waiting = await router.add(*(factories.route_changed(version=n) for n in range(1, 4)))
    for does in ("shut", "silent"):
        router.log.does["route-changed"] = does
        router.relay.lanes._holds.clear()
        flowing = await router.add(*(factories.inference() for _ in range(5)))
        while await router.relay.drain_once():
            pass
        assert router.log.ids[-5:] == flowing
        assert await router.relay.pending() == len(waiting)
    await router.relay.stop()


async def test_a_shut_topic_is_tried_again_later_and_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(lanes.time, "monotonic", lambda: clock)
    rig.log.does[TRAINED] = "shut"
    (waiting,) = await rig.add(factories.trained())
    tries = 0
    for _ in range(600):
        tries += TRAINED in rig.relay.lanes.open([TRAINED])
        await rig.relay.drain_once()
        clock += 0.1
    assert 6 <= tries <= 14, "after 0.2 s, then twice as long each time, every 15 s in the end"
    assert rig.relay.lanes.closed == {TRAINED: f"topic {TRAINED} is missing"}
    rig.log.does.clear()
    clock += 20
    await rig.relay.drain_once()
    assert (rig.log.ids, rig.relay.lanes.closed) == ([waiting], {})


async def test_of_a_compacted_topic_the_newest_state_is_kept(router: Rig) -> None:
    ids = await router.add(
        *(factories.route_changed(version=n) for n in (1, 2)), factories.inference()
    )
    await router.relay.drain_once()
    async with router.db.transaction() as tx:
        long_ago = now() - timedelta(days=400)
        await tx.execute(update(router.outbox.table).values(sent_at=long_ago, created_at=long_ago))
    await Housekeeping(router.relay, outbox_keep_hours=72).once()
    async with router.db.read() as connection:
        kept = (await connection.execute(select(router.outbox.table.c.id))).scalars().all()
    assert kept == [ids[1]]


class Ends:
    """A log whose compacted topic ends with a given event."""

    def __init__(self, key: str, event_id: str) -> None:
        self.said = Newest({key: event_id}, {Partition("route-changed", 0): 9})

    async def newest(self, _: object) -> Newest:
        return self.said

    async def lost(self, _: object) -> dict[Partition, int]:
        return {}


@pytest.mark.parametrize("waits", [False, True])
async def test_an_old_state_is_followed_by_the_newest_once_more(router: Rig, waits: bool) -> None:
    first, second, third = (factories.route_changed(version=n) for n in (1, 2, 3))
    await router.add(first, second)
    await router.relay.drain_once()
    if waits:
        await router.add(third)
    healing = Healing(router.db, router.outbox, Ends(first.route, first.event_id))
    await healing.once(lambda _: True)
    assert await router.relay.pending() == waits, "what is on its way must not be overtaken"
    await healing.once(lambda _: False)
    assert await router.relay.pending() == 1
    await router.relay.drain_once()
    assert router.log.ids[2:] == [(third if waits else second).event_id]
    await Healing(router.db, router.outbox, Ends(first.route, router.log.ids[-1])).once(
        lambda _: False
    )
    assert await router.relay.pending() == 0


class ShortLog(ScriptedLog):
    """Kept what stood below `end` and nothing behind it."""

    end = 0
    readings = 0

    async def lost(self, ends) -> dict[Partition, int]:
        self.readings += 1
        return {at: 0 for at, (_, offset) in ends.items() if offset >= self.end}

    async def newest(self, places) -> Newest:
        return Newest({}, dict(places))


@pytest.mark.parametrize("lost", [1, 499, 500, 501, 3000])
async def test_what_was_lost_is_found_in_a_few_readings(
    db: Database, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(db, "trainer")
    await db.create_tables(rig.metadata)
    log = ShortLog()
    log.end = 10**9
    relay = Relay(db, rig.outbox, log, log)
    await rig.add(*(factories.trained() for _ in range(3000)))
    await relay.find_losses()
    while await relay.drain_once():
        pass
    async with db.read() as connection:
        seqs = (await connection.execute(select(rig.outbox.table.c.seq))).scalars().all()
    log.end = sorted(seqs)[-lost]
    log.readings = 0
    monkeypatch.setattr(losses, "broken_connections", lambda: 10**6)
    await relay.find_losses()
    async with db.read() as connection:
        unsent = select(func.count()).where(rig.outbox.table.c.sent_at.is_(None))
        assert (await connection.execute(unsent)).scalar_one() == lost
    assert log.readings < 20


def letter(**changes) -> DeadLetter:
    values = {
        "topic": "dataset-built",
        "event_id": "e",
        "key": b"k",
        "body": b"{}",
        "headers": {},
        "partition": 0,
        "offset": 1,
        "is_unreadable": True,
        "error_type": "ValidationError",
        "error": "",
        "attempts": 1,
        "failed_at": now(),
    }
    return DeadLetter(**(values | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"key": b"a\0b"},
        {"key": b"k" * 300_000},
        {"key": b"\xff\xfe"},
        {"headers": {"x": "\0"}},
        {"headers": {"x": "v" * 990_000}},
        {"body": b"b" * 1_000_000, "headers": {"x": "v" * 90_000}},
    ],
    ids=["NUL", "long", "no text", "NUL in a header", "long header", "large"],
)
async def test_every_letter_is_stored_and_its_copy_fits_the_log(rig: Rig, changes) -> None:
    one = letter(**changes)
    async with rig.db.transaction() as tx:
        await rig.outbox.first_time(tx, one.topic, one.event_id)
        await rig.outbox.dead_letter(tx, one)
    async with rig.db.read() as connection:
        kept = (await connection.execute(select(rig.outbox.tables.dead_letters))).one()
        copy = (await connection.execute(select(rig.outbox.table))).one()
    assert (kept.key, kept.body) == (one.key, one.body)
    assert len(copy.payload or b"") + len(copy.headers) <= LARGEST_EVENT_BYTES


async def test_a_full_outbox_stops_reading_and_loses_no_event(rig: Rig) -> None:
    rig.outbox.backlog.most = 1000
    await rig.outbox.backlog.check(rig.db)
    await rig.add(*(factories.trained() for _ in range(3)))
    with pytest.raises(BacklogFull, match="OUTBOX_BUDGET_BYTES"):
        await rig.outbox.backlog.check(rig.db)
    await rig.relay.drain_once()
    await rig.outbox.backlog.check(rig.db)


class Broker:
    """A broker that answers pings, or does not; nobody subscribed."""

    subscribers = ()

    def __init__(self) -> None:
        self.answers = True

    async def ping(self, _: float) -> bool:
        return self.answers


@pytest.mark.parametrize("log_answers", [True, False])
@pytest.mark.parametrize("does", ["silent", "away", "shut", "refuses"])
async def test_live_fails_when_the_oldest_event_does_not_move(
    rig: Rig, does: str, log_answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the log is away it never does, nor for a topic that a person must open."""
    monkeypatch.setattr(lanes, "PATIENCE_SECONDS", 0.01)
    clock = 0.0
    broker = Broker()
    broker.answers = log_answers
    watched = health.Health(broker, None, [], rig.relay)  # type: ignore[arg-type]
    watched.progress = health.Progress(lambda: clock)
    rig.log.does[TRAINED] = does
    await rig.add(*(factories.trained() for _ in range(3)))
    for clock in (0.0, 100.0, 200.0, 300.0):  # noqa: B007 - the lambda above reads it
        rig.relay.lanes._holds.clear()
        await rig.relay.drain_once()
        await watched._measure_outbox()
    stuck = watched.trouble()
    assert (stuck is not None) == (log_answers and does in ("silent", "away")), stuck
    await rig.relay.stop()

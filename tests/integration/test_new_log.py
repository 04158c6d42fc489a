"""A home moves from the embedded log to Apache Kafka (`ratchet kafka install`, then `ratchet up`):
the outboxes fill the new log, and consumers begin again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.events.losses import Losses
from tests import factories
from tests.faults.switches import trust_the_log
from tests.integration.test_broker_loss import announce, published
from tests.integration.test_bus import drained, eventually, everything_on, producer, send, trainer
from tests.kafka import ApacheKafka, Broker, EmbeddedBroker, apache_missing

EVENTS = 30


@pytest.fixture
def old(tmp_path: Path):
    with EmbeddedBroker(tmp_path / "old") as broker:
        yield broker


@pytest.fixture
def new(tmp_path: Path):
    if reason := apache_missing():
        pytest.skip(reason)
    with ApacheKafka(tmp_path / "new") as broker:
        yield broker


async def fill(old: Broker, folder: Path) -> None:
    """Events that were sent, read and digested; and some that were committed and never sent."""
    async with trainer(old.servers, folder) as (service, effects), producer(old.servers) as sender:
        for number in range(EVENTS):
            await send(sender, factories.dataset(because=f"old-{number}"))
        await announce(service, "sent", EVENTS)
        await eventually(lambda: effects.seen(f"old-{EVENTS - 1}"))
        await eventually(lambda: drained(service))
        await asyncio.to_thread(old.stop)
        await announce(service, "waiting", EVENTS)


async def on_the_new_log(new: Broker, word: str) -> int:
    return len(published(await everything_on(new.servers, "adapter-trained"), word))


async def test_nothing_is_lost_and_nothing_acts_twice(
    old: EmbeddedBroker, new: ApacheKafka, tmp_path: Path
) -> None:
    await fill(old, tmp_path)
    async with (
        trainer(new.servers, tmp_path) as (service, effects),
        producer(new.servers) as sender,
    ):
        # the producer of the datasets sends its own again, and they begin where it likes
        for number in range(EVENTS + 5):
            await send(sender, factories.dataset(because=f"new-{number}"))
        await eventually(lambda: effects.seen(f"new-{EVENTS + 4}"))
        await eventually(lambda: drained(service))
        for word in ("sent", "waiting"):
            assert await on_the_new_log(new, f"{word}-") >= EVENTS
        # what follows from each of the events that were digested
        assert await on_the_new_log(new, '"old-') == EVENTS
        assert [await effects.seen(f"new-{number}") for number in range(EVENTS + 5)] == [1] * (
            EVENTS + 5
        )
        assert await effects.seen_like("old-") == EVENTS


async def test_without_the_look_back_the_new_log_misses_them(
    old: EmbeddedBroker, new: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    await fill(old, tmp_path)
    monkeypatch.setattr(Losses, "find", trust_the_log)
    async with trainer(new.servers, tmp_path) as (service, _):
        await eventually(lambda: drained(service))
    assert await on_the_new_log(new, "waiting-") >= EVENTS
    assert await on_the_new_log(new, '"old-') == 0

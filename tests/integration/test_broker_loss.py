"""The log forgets what it acknowledged, as the embedded one does in a crash: it is filled again
from the outbox, and consumers begin again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.events.losses import Losses
from shared.service import Service
from tests import factories
from tests.faults.switches import trust_the_log
from tests.integration.test_bus import (
    Effects,
    drained,
    eventually,
    everything_on,
    producer,
    send,
    trainer,
)
from tests.kafka import EmbeddedBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path / "log") as broker:
        yield broker


def crash(broker: EmbeddedBroker) -> None:
    """As `kill -9`, with the worst outcome: nothing of the log is left."""
    broker.process.kill()
    broker.process.wait()
    shutil.rmtree(broker.folder / "data", ignore_errors=True)


def published(records: list, word: str) -> set[str]:
    return {
        record.key.decode() + record.value.decode()
        for record in records
        if word.encode() in record.value
    }


async def announce(service: Service, word: str, n: int) -> None:
    async with service.db.transaction() as tx:
        await service.outbox.add(tx, *(factories.trained(job_id=f"{word}-{i}") for i in range(n)))


async def holds(broker: EmbeddedBroker, word: str, n: int) -> bool:
    return len(published(await everything_on(broker.servers, "adapter-trained"), word)) >= n


async def test_a_running_relay_sends_again_what_the_log_lost(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with trainer(broker.servers, tmp_path) as (service, effects):
        await announce(service, "before", 20)
        await eventually(lambda: drained(service))
        crash(broker)
        await announce(service, "during", 5)
        await asyncio.to_thread(broker.start)
        await eventually(lambda: holds(broker, "before", 20))
        await eventually(lambda: holds(broker, "during", 5))
        async with producer(broker.servers) as sender:
            await send(sender, factories.dataset(because="afterwards"))
        await eventually(lambda: effects.seen("afterwards"))


async def test_a_log_that_grew_past_its_old_end_does_not_hide_the_loss(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The end of the log is beyond what the relay and the consumer knew: only the content tells."""
    async with (
        trainer(broker.servers, tmp_path) as (service, effects),
        producer(broker.servers) as sender,
    ):
        await announce(service, "old", 10)
        for i in range(10):
            await send(sender, factories.dataset(because=f"old-{i}"))
        await eventually(lambda: effects.seen("old-9"))
        await eventually(lambda: drained(service))
    crash(broker)
    await asyncio.to_thread(broker.start)
    async with producer(broker.servers) as sender:
        for i in range(40):
            await send(sender, factories.dataset(because=f"new-{i}"))
            await sender.send_and_wait("adapter-trained", b"{}", key=b"acme/support-triage")
    async with trainer(broker.servers, tmp_path) as (_, effects):
        await eventually(lambda: holds(broker, "old", 10))
        await eventually(lambda: all_seen(effects, 40))
        assert await effects.seen("old-3") == 1


async def all_seen(effects: Effects, n: int) -> bool:
    return [await effects.seen(f"new-{i}") for i in range(n)] == [1] * n


async def test_without_the_look_back_the_loss_stays(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: it is the look back that finds the loss, nothing else."""
    monkeypatch.setattr(Losses, "find", trust_the_log)
    async with trainer(broker.servers, tmp_path) as (service, _):
        await announce(service, "before", 5)
        await eventually(lambda: drained(service))
        crash(broker)
        await asyncio.to_thread(broker.start)
        await announce(service, "after", 1)
        await eventually(lambda: holds(broker, "after", 1))
        assert not published(await everything_on(broker.servers, "adapter-trained"), "before")

"""A client goes on after its connection closed under it, on the event loop that services run on;
one that does not is noticed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection

from shared.events import health
from shared.events.seams import open_seams
from shared.service import Service
from tests.integration.test_bus import eventually, trainer
from tests.kafka import Broker


async def metadata_after_a_close(servers: str) -> bool:
    """Closes each connection without the client's notice, as it is in the moment between a crash
    and the news of it.
    """
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.client.force_metadata_update()
        connections = list(producer.client._conns.values())
        for connection in connections:
            connection._writer.transport.set_protocol(asyncio.Protocol())
            connection._writer.transport.abort()
        await asyncio.sleep(0.1)
        await asyncio.wait_for(producer.client.force_metadata_update(), 5)
        return await asyncio.wait_for(producer.client.force_metadata_update(), 5)


def test_a_client_survives_a_write_to_a_closed_connection(broker: Broker) -> None:
    open_seams()
    assert uvloop.run(metadata_after_a_close(broker.servers))


def test_without_our_help_it_does_not(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control. When it fails, aiokafka was mended and this
    wrapper of shared/events/seams.py can go.
    """
    original = getattr(AIOKafkaConnection.send, "__wrapped__", AIOKafkaConnection.send)
    monkeypatch.setattr(AIOKafkaConnection, "send", original)
    with pytest.raises(RuntimeError, match="closed") as died:
        uvloop.run(metadata_after_a_close(broker.servers))
    assert isinstance(died.value.__context__, TimeoutError), (
        "the task that keeps the metadata ended, and its client waited for it"
    )


async def test_a_consumer_that_never_gets_back_into_its_group_fails_its_probe(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alive and stuck, whatever the reason: here the task that keeps its metadata is gone."""
    monkeypatch.setattr(health, "STUCK_SECONDS", 2.0)
    monkeypatch.setattr(health, "MEASURE_SECONDS", 1.0)
    async with trainer(broker.servers, tmp_path) as (service, _):
        await eventually(lambda: has_assignment(service))
        assert service.health.trouble() is None
        (consumer,) = service.health.consumers()
        consumer._client._sync_task.cancel()
        consumer._client._topics = set()
        consumer._coordinator.reset_generation()
        await eventually(lambda: in_trouble(service), 30)
        assert "has not got into group trainer.dataset-built" in service.health.trouble()
        monkeypatch.setattr("shared.service.STOP_SECONDS", 1.0)


async def has_assignment(service: Service) -> bool:
    return any(consumer.assignment() for consumer in service.health.consumers())


async def in_trouble(service: Service) -> bool:
    return service.health.trouble() is not None

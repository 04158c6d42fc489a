"""Six services in one process, meeting on an event log in memory: outbox -> here -> handlers, no
broker, no network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack

from faststream.kafka import TestKafkaBroker

from shared.events.sending import Delivery, OutboxRow, Place
from shared.service import Service


class MemoryLog:
    """The sender of every service: delivers each row to the handlers that subscribed to its topic,
    in order. The history holds what all of them have handled.
    """

    def __init__(self) -> None:
        self.services: list[Service] = []
        self.history: list[tuple[str, dict]] = []

    async def send(self, rows: Sequence[OutboxRow]) -> Delivery:
        for row in rows:
            for service in self.services:
                if row.aggregatetype in subscribed(service):
                    await service.broker.publish(
                        row.payload,
                        row.aggregatetype,
                        key=row.aggregateid.encode(),
                        headers=json.loads(row.headers),
                    )
            self.history.append((row.aggregatetype, json.loads(row.payload)))
        return Delivery({row.seq: Place(0, row.seq) for row in rows})

    async def close(self) -> None: ...

    async def deliver_all(self) -> None:
        """Until no service has anything left to say."""
        while sum([await service.relay.drain_once() for service in self.services]):
            pass

    def events(self, topic: str) -> list[dict]:
        return [event for name, event in self.history if name == topic]


def subscribed(service: Service) -> set[str]:
    return {
        topic
        for subscriber in service.broker.subscribers
        for topic in subscriber.topic_names_for_subscribe
    }


class Running:
    """Starts the in-memory brokers and creates the tables of all services."""

    def __init__(self, log: MemoryLog, services: list[Service]) -> None:
        self.log = log
        self.stack = AsyncExitStack()
        log.services = services

    async def __aenter__(self) -> MemoryLog:
        for service in self.log.services:
            await service.db.create_tables(service.metadata)
            await self.stack.enter_async_context(TestKafkaBroker(service.broker))
            # It stands in for the broker's start, not for that of each consumer, which would look
            # for messages without a pause: the story took 50 s instead of 8.
            service.reading.begin = service.broker.start
        return self.log

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()
        for service in self.log.services:
            await service.db.close()

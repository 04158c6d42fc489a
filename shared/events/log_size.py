"""Says which event log runs and, of the embedded one, whether it holds too much."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.base import JsonObject
from schemas.topics import TOPICS
from shared.event_log import EMBEDDED, too_full
from shared.telemetry import log

COUNT_SECONDS = 60.0
PATIENCE_SECONDS = 10.0


class LogSize:
    """Counts in the background: a readiness probe must not wait for a log that is away."""

    def __init__(self, bootstrap_servers: str, kind: str, client_id: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.kind = kind
        self.client_id = f"{client_id}-log-size"
        self.events = 0
        self._counted: float | None = None
        self._counting: asyncio.Task[None] | None = None

    def report(self) -> JsonObject:
        """Return what `/health/ready` says of the log; counts anew where that is a minute ago."""
        stale = self._counted is None or time.monotonic() - self._counted > COUNT_SECONDS
        if self.kind == EMBEDDED and stale:
            self._counted = time.monotonic()
            self._counting = asyncio.create_task(self._count())
        advice = too_full(self.events)
        return {"event_log": self.kind} | ({"event_log_advice": advice} if advice else {})

    async def _count(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, client_id=self.client_id, group_id=None
        )
        every = [
            TopicPartition(topic.name, number)
            for topic in TOPICS
            for number in range(topic.partitions)
        ]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await consumer.start()
                first = await consumer.beginning_offsets(every)
                last = await consumer.end_offsets(every)
            self.events = sum(last[at] - first[at] for at in every)
        # The log is away, or has no topics yet: the next minute tells.
        except (KafkaError, OSError, TimeoutError) as error:
            log("log-size").debug("events not counted", error=type(error).__name__)
        finally:
            await consumer.stop()

"""Is this service getting on? A consumer that is alive and stuck must fail its probe: a ping would
not tell (reliability page, A9).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from shared.events.log_guard import ConsumerGuard
from shared.telemetry import CONSUMER_LAG, log

LOOK_SECONDS = 1.0
MEASURE_SECONDS = 10.0
STUCK_SECONDS = 180.0  # an event with all its retries takes about 60 s


class Progress:
    """For each partition since when it stands still with events left to read, for each group since
    when it is being joined. Times are seconds of `clock`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._standing: dict[TopicPartition, tuple[int, float]] = {}
        self._joining: dict[str, float] = {}

    def saw(self, partition: TopicPartition, position: int, end: int) -> None:
        known = self._standing.get(partition)
        if position >= end:
            self._standing.pop(partition, None)
        elif known is None or known[0] != position:
            self._standing[partition] = (position, self._clock())

    def keep(self, assigned: Iterable[TopicPartition]) -> None:
        """Partitions that another replica reads now are its affair."""
        self._standing = {
            partition: standing
            for partition, standing in self._standing.items()
            if partition in set(assigned)
        }

    def joins(self, groups: Iterable[str]) -> None:
        """These are being joined; all others have their assignment, be it none."""
        self._joining = {group: self._joining.get(group, self._clock()) for group in groups}

    def stuck(self) -> str | None:
        for group, since in self._joining.items():
            if self._clock() - since > STUCK_SECONDS:
                return f"has not got into group {group} for {self._clock() - since:.0f} s"
        for partition, (position, since) in self._standing.items():
            if self._clock() - since > STUCK_SECONDS:
                return (
                    f"{partition.topic}/{partition.partition} stands at {position} for"
                    f" {self._clock() - since:.0f} s with events left to read"
                )
        return None


class Health:
    """Watches the consumers of one service: lag, progress, and a log that lost events
    (log_guard.py).
    """

    def __init__(self, broker: KafkaBroker, guard: ConsumerGuard) -> None:
        self.broker = broker
        self.guard = guard
        self.progress = Progress()
        self.dead_loops: list[str] = []

    def trouble(self) -> str | None:
        """Why this process should be restarted; None while it gets on."""
        return (
            f"stopped working: {', '.join(self.dead_loops)}"
            if self.dead_loops
            else self.progress.stuck()
        )

    async def watch(self) -> None:
        """For ever."""
        measured = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.guard.sweep(self.consumers())
            if time.monotonic() - measured > MEASURE_SECONDS:
                await self._measure()
                measured = time.monotonic()

    def consumers(self) -> Iterator[AIOKafkaConsumer]:
        for subscriber in self.broker.subscribers:
            consumer: Any = getattr(subscriber, "consumer", None)
            if consumer is not None:
                yield consumer

    async def _measure(self) -> None:
        assigned: set[TopicPartition] = set()
        joining = [
            consumer._group_id  # noqa: SLF001
            for consumer in self.consumers()
            if consumer._subscription.reassignment_in_progress  # noqa: SLF001
        ]
        self.progress.joins(joining if joining and await self.broker.ping(MEASURE_SECONDS) else [])
        for consumer in self.consumers():
            mine = consumer.assignment()
            assigned |= mine
            try:
                async with asyncio.timeout(MEASURE_SECONDS):
                    ends = await consumer.end_offsets(mine) if mine else {}
                    for partition, end in ends.items():
                        self._note(partition, await consumer.position(partition), end)
            except (
                KafkaError,
                OSError,
                TimeoutError,
            ) as error:  # the log is away: a restart would not bring it back
                log("health").debug("lag unknown", error=type(error).__name__)
        self.progress.keep(assigned)

    def _note(self, partition: TopicPartition, position: int, end: int) -> None:
        CONSUMER_LAG.labels(partition.topic, partition.partition).set(max(end - position, 0))
        self.progress.saw(partition, position, end)

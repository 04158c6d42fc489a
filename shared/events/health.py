"""Tells whether the consumers and the relay of a service get on.

One that is alive and stuck must fail its probe; a ping to the event log would not tell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from shared.errors import Retryable
from shared.events.consume import Consumer
from shared.events.log_guard import ConsumerGuard
from shared.events.relay import Relay
from shared.telemetry import CONSUMER_LAG, log

LOOK_SECONDS = 1.0
MEASURE_SECONDS = 10.0
STUCK_SECONDS = 180.0  # an event with all its retries takes about 60 s


class Progress:
    """Remembers since when each partition stands still with events left to read.

    Besides, since when each group is being joined. Times are seconds of `clock`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._standing: dict[TopicPartition, tuple[int, float]] = {}
        self._joining: dict[str, float] = {}
        self._waiting: tuple[int, float] | None = None

    def saw(self, partition: TopicPartition, position: int, end: int) -> None:
        """Take note of a consumer's next offset to read, and of the log's next one to write."""
        known = self._standing.get(partition)
        if position >= end:
            self._standing.pop(partition, None)
        elif known is None or known[0] != position:
            self._standing[partition] = (position, self._clock())

    def keep(self, assigned: Iterable[TopicPartition]) -> None:
        """Forget all partitions but these: the others are read by other replicas now."""
        self._standing = {
            partition: standing
            for partition, standing in self._standing.items()
            if partition in set(assigned)
        }

    def waits(self, row: int | None) -> None:
        """Take note of the oldest outbox row that waits for the log; None while none does, or while
        nobody can be blamed.
        """
        if row is None:
            self._waiting = None
        elif self._waiting is None or self._waiting[0] != row:
            self._waiting = (row, self._clock())

    def joins(self, groups: Iterable[str]) -> None:
        """Take note of the groups that are still rebalancing; all others have their partitions."""
        self._joining = {group: self._joining.get(group, self._clock()) for group in groups}

    def stuck(self) -> str | None:
        """Say what has not moved for STUCK_SECONDS; None while everything does."""
        for group, since in self._joining.items():
            if self._clock() - since > STUCK_SECONDS:
                return f"has not got into group {group} for {self._clock() - since:.0f} s"
        for partition, (position, since) in self._standing.items():
            if self._clock() - since > STUCK_SECONDS:
                return (
                    f"{partition.topic}/{partition.partition} stands at {position} for"
                    f" {self._clock() - since:.0f} s with events left to read"
                )
        if self._waiting and self._clock() - self._waiting[1] > STUCK_SECONDS:
            return (
                f"the oldest event to publish (outbox row {self._waiting[0]}) has not moved for"
                f" {self._clock() - self._waiting[1]:.0f} s while the event log answers"
            )
        return None


class Health:
    """Watches one service: the lag and progress of consumers and relay, a log that lost events."""

    def __init__(
        self,
        broker: KafkaBroker,
        guard: ConsumerGuard,
        consumers: Sequence[Consumer],
        relay: Relay,
    ) -> None:
        self.broker = broker
        self.guard = guard
        self.relay = relay
        self.topic_consumers = consumers
        self.progress = Progress()
        self.dead_loops: list[str] = []

    def trouble(self) -> str | None:
        """Say why this process should be restarted; None while it gets on."""
        return (
            f"stopped working: {', '.join(self.dead_loops)}"
            if self.dead_loops
            else self.progress.stuck()
        )

    def paused(self) -> dict[str, str]:
        """Return the topics whose reading is paused, each with the reason."""
        return {
            each.name: each.paused_because
            for each in self.topic_consumers
            if each.paused_because is not None
        }

    async def watch(self) -> None:
        """Look after the consumers until cancelled."""
        measured = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.guard.sweep(self.consumers())
            if time.monotonic() - measured > MEASURE_SECONDS:
                await self._measure()
                await self._measure_outbox()
                measured = time.monotonic()

    def consumers(self) -> Iterator[AIOKafkaConsumer]:
        """Yield the consumers that were started."""
        for subscriber in self.broker.subscribers:
            consumer = getattr(subscriber, "consumer", None)
            if consumer is not None:
                yield consumer

    async def _measure(self) -> None:
        assigned: set[TopicPartition] = set()
        joining = [each.group for each in self.topic_consumers if each.membership.joining]
        # While the log is away nobody can join, and a restart would not help.
        self.progress.joins(joining if joining and await self.broker.ping(MEASURE_SECONDS) else [])
        for consumer in self.consumers():
            mine = consumer.assignment()
            assigned |= mine
            try:
                async with asyncio.timeout(MEASURE_SECONDS):
                    ends = await consumer.end_offsets(mine) if mine else {}
                    for partition, end in ends.items():
                        self._note(partition, await consumer.position(partition), end)
            # The log is away: a restart would not bring it back.
            except (KafkaError, OSError, TimeoutError) as error:
                log("health").debug("lag unknown", error=type(error).__name__)
        self.progress.keep(assigned)

    async def _measure_outbox(self) -> None:
        """Note whether the oldest event that waits for an open topic moves.

        While the log or the database is away, or another replica publishes, a restart of this
        process would not help.
        """
        oldest = None
        try:
            if not await self.relay.is_led_elsewhere():
                oldest = await self.relay.oldest()
            if oldest is not None and not await self.broker.ping(MEASURE_SECONDS):
                oldest = None
        except Retryable as error:
            log("health").debug("outbox unknown", error=error.name)
        self.progress.waits(None if oldest is None else oldest.seq)

    def _note(self, partition: TopicPartition, position: int, end: int) -> None:
        CONSUMER_LAG.labels(partition.topic, partition.partition).set(max(end - position, 0))
        # A paused consumer stands still on purpose: a restart would not make it go on.
        is_paused = partition.topic in self.paused()
        self.progress.saw(partition, position, end=position if is_paused else end)

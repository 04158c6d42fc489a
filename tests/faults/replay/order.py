"""Reads several partitions of the log in the order in which a service read them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from infra.operations.log import Span, reading
from schemas.topics import TOPICS
from shared.events import Partition

# Records of one partition that wait for another's.
READ_AHEAD = 500
COMPACTED = {topic.name for topic in TOPICS if topic.compacted}


async def in_order(
    servers: str, spans: Mapping[Partition, Span], when: Callable[[ConsumerRecord], float]
) -> AsyncIterator[ConsumerRecord]:
    """Yield every record of the spans: in order within a partition, by `when` across partitions.

    Of the same moment, states of compacted topics come before events.
    """
    left = {at: span for at, span in spans.items() if len(span)}
    if not left:
        return
    waiting: dict[Partition, deque[ConsumerRecord]] = {at: deque() for at in left}
    async with reading(servers, left) as consumer:
        while left or any(waiting.values()):
            while any(not waiting[at] for at in left):
                await read_ahead(consumer, left, waiting)
            heads = [
                (when(queue[0]), at.topic not in COMPACTED, at)
                for at, queue in waiting.items()
                if queue
            ]
            heapq.heapify(heads)
            while heads:  # until a partition that may hold more has shown all it had
                _, event, at = heads[0]
                yield waiting[at].popleft()
                if not waiting[at] and at in left:
                    break
                if waiting[at]:
                    heapq.heapreplace(heads, (when(waiting[at][0]), event, at))
                else:
                    heapq.heappop(heads)


async def read_ahead(
    consumer: AIOKafkaConsumer,
    left: dict[Partition, Span],
    waiting: dict[Partition, deque[ConsumerRecord]],
) -> None:
    """Fetch where little waits, and take partitions that were read to their end out of `left`."""
    hungry = [TopicPartition(*at) for at in left if len(waiting[at]) < READ_AHEAD]
    for at, some in (await consumer.getmany(*hungry, timeout_ms=200)).items():
        here = Partition(at.topic, at.partition)
        waiting[here].extend(record for record in some if record.offset < left[here].end)
    for at in [
        at for at, span in left.items() if await consumer.position(TopicPartition(*at)) >= span.end
    ]:
        del left[at]

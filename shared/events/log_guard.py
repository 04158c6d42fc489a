"""Notices when the event log has lost what it once acknowledged, and puts consumers back to where
it begins again.

The embedded log keeps events in memory, and even a Kafka can lose a log (unclean election, a lost
disk). A log that lost its end cannot be told by its length: it grows again. But nothing is lost
without a connection breaking first. So each broken connection makes the log suspect, and before
anything more is read or sent, the last known event of each partition is read back and compared by
its id. Reading one record costs a few ms, and nothing at all while connections hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.errors import Retryable
from shared.events.outbox import Outbox
from shared.events.received import event_id_of
from shared.events.seams import broken_connections
from shared.events.sending import BrokerUnavailable
from shared.storage import Database
from shared.telemetry import LOG_REWINDS, log

READ_SECONDS = 10.0
NEWEST_SECONDS = 60.0
COMMIT_SECONDS = 3.0  # nothing is read meanwhile; where it takes longer the group is changing


class Partition(NamedTuple):
    topic: str
    number: int


class Newest(NamedTuple):
    """The id of the last event of each key, and where reading ended in each partition."""

    ids: dict[str, str]
    ends: dict[Partition, int]


class LogReader(Protocol):
    """Reads the log back. Raises BrokerUnavailable."""

    async def lost(self, ends: Mapping[Partition, tuple[str, int]]) -> dict[Partition, int]:
        """Return the partitions that no longer hold the event of that id at that offset, though
        they should, each with its first offset.
        """

    async def newest(self, places: Mapping[Partition, int]) -> Newest:
        """Read from an offset of each partition to its end: the last event of each key."""


class KafkaLogReader:
    def __init__(self, bootstrap_servers: str, client_id: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.client_id = f"{client_id}-log-reader"

    async def lost(self, ends: Mapping[Partition, tuple[str, int]]) -> dict[Partition, int]:
        if not ends:
            return {}
        async with _Reading(self, ends) as consumer:
            starts = await consumer.beginning_offsets(_topic_partitions(ends))
            stops = await consumer.end_offsets(_topic_partitions(ends))
            gone = [at for at, (_, offset) in ends.items() if offset >= stops[TopicPartition(*at)]]
            there = {
                at: end
                for at, end in ends.items()
                if at not in gone and end[1] >= starts[TopicPartition(*at)]
            }
            found = await self._at(consumer, there)
            gone += [at for at, (event_id, _) in there.items() if found[at] not in (event_id, None)]
            return {at: starts[TopicPartition(*at)] for at in gone}

    async def newest(self, places: Mapping[Partition, int]) -> Newest:
        ids: dict[str, str] = {}
        async with _Reading(self, places) as consumer, asyncio.timeout(NEWEST_SECONDS):
            ends = await consumer.end_offsets(_topic_partitions(places))
            starts = await consumer.beginning_offsets(_topic_partitions(places))
            for at, end in ends.items():
                # A log that was lost begins again.
                asked = places[Partition(*at)]
                consumer.seek(at, asked if starts[at] <= asked <= end else starts[at])
            while waiting := [at for at, end in ends.items() if await consumer.position(at) < end]:
                for records in (await consumer.getmany(*waiting, timeout_ms=500)).values():
                    ids |= {
                        (record.key or b"").decode("utf-8", "replace"): event_id_of(record)
                        for record in records
                    }
        return Newest(ids, {Partition(*at): end for at, end in ends.items()})

    async def _at(
        self, consumer: AIOKafkaConsumer, ends: Mapping[Partition, tuple[str, int]]
    ) -> dict[Partition, str | None]:
        """Return the id at each offset; None where compaction took the record."""
        found: dict[Partition, str | None] = {}
        for at, (_, offset) in ends.items():
            consumer.seek(TopicPartition(*at), offset)
        async with asyncio.timeout(READ_SECONDS):
            while waiting := [TopicPartition(*at) for at in ends if at not in found]:
                for at, records in (
                    await consumer.getmany(*waiting, timeout_ms=200, max_records=len(waiting) * 10)
                ).items():
                    here = Partition(*at)
                    found.setdefault(
                        here,
                        event_id_of(records[0]) if records[0].offset == ends[here][1] else None,
                    )
        return found


class _Reading:
    """A consumer of no group, assigned to these partitions alone."""

    def __init__(self, reader: KafkaLogReader, partitions: Iterable[Partition]) -> None:
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=reader.bootstrap_servers,
            client_id=reader.client_id,
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            request_timeout_ms=int(READ_SECONDS * 1000),
        )
        self.partitions = _topic_partitions(partitions)

    async def __aenter__(self) -> AIOKafkaConsumer:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self.consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.consumer.stop()
            raise BrokerUnavailable(error) from error
        self.consumer.assign(self.partitions)
        return self.consumer

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        await self.consumer.stop()
        if isinstance(error, KafkaError | OSError | TimeoutError):
            raise BrokerUnavailable(error) from error


def _topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]


class ConsumerGuard:
    """Before a service reads on from a suspect partition: is the last event it digested still where
    it was?
    """

    def __init__(self, db: Database, outbox: Outbox, reader: LogReader) -> None:
        self.db = db
        self.outbox = outbox
        self.reader = reader
        self._intact: dict[Partition, int] = {}
        self._looking = asyncio.Lock()

    async def lost(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[Partition]
    ) -> Collection[Partition]:
        """Return the partitions that were lost, after moving the consumer back to their beginning.

        What it just read of them must be left alone.
        """
        return await self._look(dict.fromkeys(partitions, consumer))

    async def sweep(self, consumers: Iterable[AIOKafkaConsumer]) -> None:
        """Look at partitions on which nothing new arrives, too.

        What the log lost of them may have come back below the consumer's position.
        """
        await self._look(
            {
                Partition(at.topic, at.partition): consumer
                for consumer in consumers
                for at in consumer.assignment()
            }
        )

    async def _look(self, read_by: Mapping[Partition, AIOKafkaConsumer]) -> Collection[Partition]:
        """Move consumers of lost partitions back, and return those partitions.

        The log is read once for all that are suspect.
        """
        suspected = broken_connections()
        if not self._unsure(read_by, suspected):
            return ()
        async with self._looking:
            unsure = self._unsure(read_by, suspected)
            lost = await self._patiently(unsure)
            for consumer in {read_by[partition] for partition in lost}:
                starts = {
                    partition: start
                    for partition, start in lost.items()
                    if read_by[partition] is consumer
                }
                if not await self._begin_again(consumer, starts):
                    unsure = [partition for partition in unsure if partition not in starts]
            self._intact |= dict.fromkeys(unsure, suspected)
            return lost

    def _unsure(self, partitions: Iterable[Partition], suspected: int) -> list[Partition]:
        return [
            partition for partition in partitions if self._intact.get(partition, -1) != suspected
        ]

    async def _patiently(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        while True:
            try:
                async with self.db.read() as connection:
                    seen = {
                        partition: await self.outbox.last_seen(connection, *partition)
                        for partition in partitions
                    }
                return await self.reader.lost(
                    {partition: last for partition, last in seen.items() if last}
                )
            except Retryable:
                await asyncio.sleep(0.5)

    async def _begin_again(
        self, consumer: AIOKafkaConsumer, starts: Mapping[Partition, int]
    ) -> bool:
        """Move a consumer to the beginnings of its partitions; return False while they change
        hands.

        Those are looked at again. Until the group knows the new places the old ones are kept, so
        that whoever is killed between the two finds the loss again. `seek_to_beginning` would wait
        40 s for each partition while a group changes.
        """
        offsets = {TopicPartition(*partition): start for partition, start in starts.items()}
        try:
            for at, start in offsets.items():
                consumer.seek(at, start)
            async with asyncio.timeout(COMMIT_SECONDS):
                await consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            log("bus").warning(
                "the log lost events, and its partitions change hands; looking again",
                error=type(error).__name__,
            )
            return False
        for partition in starts:
            await self.outbox.forget_places(self.db, *partition)
        for partition in starts:
            LOG_REWINDS.labels(partition.topic).inc()
            log("bus").error(
                "the log lost events; reading it from its beginning",
                topic=partition.topic,
                partition=partition.number,
            )
        return True

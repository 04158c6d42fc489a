"""The event log as our services use it: FastStream with every default that loses data overridden.

What would lose or wedge otherwise: ACK_FIRST commits before the handler ran; `latest` skips what a
new group has not seen; NACK alone reads a poison message again for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiokafka import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.annotations import KafkaMessage as DeliveredMessage

from schemas.topics import Topic
from shared.events.consume import Consumer, Handler, TopicConsumer
from shared.events.log_guard import ConsumerGuard
from shared.events.outbox import Outbox
from shared.events.records import RecordConsumer, Taker
from shared.events.seams import open_seams
from shared.settings import ServiceSettings
from shared.storage import Database

BATCH = Consumer.most
IDLE_MS = 100  # how long a consumer that found nothing waits before it looks again
# How long a killed consumer's partitions wait; handlers never block the loop that long.
SESSION_TIMEOUT_MS = 15_000
GRACEFUL_SECONDS = 25.0  # pods need terminationGracePeriodSeconds >= 45

Handlers = Mapping[Topic, Handler]
"""What a service does with each topic it reads: `{topics.DATASET_BUILT: jobs.on_dataset_built}`."""


def make_broker(settings: ServiceSettings, service: str) -> KafkaBroker:
    """Make a broker to consume from. Publishing goes through the outbox and its relay."""
    open_seams()
    return KafkaBroker(
        settings.kafka_bootstrap_servers.split(","),
        client_id=service,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        allow_auto_create_topics=False,
        graceful_timeout=GRACEFUL_SECONDS,
        logger=None,
    )


def subscribe(
    broker: KafkaBroker,
    handlers: Handlers,
    takers: Sequence[Taker],
    db: Database,
    outbox: Outbox,
    guard: ConsumerGuard,
    instance: str | None,
) -> list[Consumer]:
    """Subscribe each handler to its topic, in a consumer group of its own (so lag is told apart),
    and each taker of an app's records to theirs.

    `instance` is this replica's stable name (static membership, KIP-345): a killed consumer that
    comes back under it rejoins in 0.04 s instead of after the session timeout, and the embedded
    event log, which never expires a dead member, lets it in at all.
    """
    consumers: list[Consumer] = [
        *(TopicConsumer(*item, db, outbox, guard) for item in handlers.items()),
        *(RecordConsumer(taker, db, outbox, guard) for taker in takers),
    ]
    for consumer in consumers:
        broker.subscriber(
            consumer.name,
            group_id=consumer.group,
            listener=consumer.membership,
            group_instance_id=instance,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            batch=True,
            max_records=consumer.most,
            batch_timeout_ms=IDLE_MS,
            parser=leave_headers_unread,
            decoder=leave_body_unread,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 5,
            max_poll_interval_ms=300_000,
            rebalance_timeout_ms=SESSION_TIMEOUT_MS,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            title=f"{outbox.service}:{consumer.name}",
        )(named(consumer))
    return consumers


def named(consumer: Consumer) -> Callable[..., Awaitable[None]]:
    """Wrap a consumer as FastStream wants it: a function of the delivered batch."""

    async def deliver(message: DeliveredMessage) -> None:
        await consumer.digest(message)

    deliver.__name__ = f"on_{consumer.name}"
    return deliver


async def leave_headers_unread(
    records: tuple[ConsumerRecord, ...], original: Callable[[Any], Awaitable[KafkaMessage]]
) -> KafkaMessage:
    """Keep FastStream from decoding headers while it parses a batch.

    What fails there reaches no handler: the batch would be read again for ever. It names the
    message by its first and its last record, and needs no other: to copy each costs 5 us.
    """
    ends = (records[0], records[-1])
    message = await original(tuple(replace(record, headers=()) for record in ends))
    message.raw_message = records
    return message


async def leave_body_unread(message: KafkaMessage, _: Callable[..., Any]) -> None:
    """Keep FastStream from decoding bodies: `TopicConsumer` reads each event by itself."""

"""The event log as our services use it: FastStream with every default that loses data overridden,
in this one place.

Numbers in brackets refer to the reliability page: ACK_FIRST commits before the handler ran [A1],
`latest` skips what a new group has not seen [A1], NACK alone spins on a poison message for ever
[A2], FastStream's message_id is not unique [A2].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from faststream import AckPolicy, Context
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaRouter
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import Topic
from shared.events.closed_connections import survive_closed_connections
from shared.events.consume import ReliableConsume
from shared.events.log_guard import ConsumerGuard, watch_connections
from shared.events.outbox import Outbox
from shared.events.pacing import pace_empty_fetches
from shared.settings import ServiceSettings
from shared.storage.db import Database

BATCH = 64  # events that share a transaction: on SQLite the writer's lock is held for about 0.1 s
IDLE_MS = 100  # how long a consumer that found nothing waits before it looks again
SESSION_TIMEOUT_MS = (
    15_000  # how long a killed consumer's partitions wait; handlers never block the loop that long
)
GRACEFUL_SECONDS = 25.0  # pods need terminationGracePeriodSeconds >= 45


class _Given(type(Context())):
    """FastStream's own is looked up in a thread: two hops of 0.2 ms for each event."""

    async def use(self, /, **arguments: Any) -> dict[str, Any]:
        return super().use(**arguments)


def Given(name: str = "") -> Any:  # noqa: N802 - an annotation, like FastStream's
    """In a handler: what the service was built with, under the parameter's own name."""
    return _Given(name)


Tx = Annotated[AsyncConnection, Given("tx")]
"""In a handler: the transaction that also holds the inbox entry. Effects and outbox rows go through
it.
"""


def subscribe(router: KafkaRouter, service: str, topic: Topic) -> Callable[..., Any]:
    """Subscribe a handler named `on_<event>`; one consumer group per service and topic, so that lag
    is told apart.
    """
    return router.subscriber(
        topic.name,
        group_id=f"{service}.{topic.name}",
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        batch=True,
        max_records=BATCH,
        batch_timeout_ms=IDLE_MS,
        parser=read_nothing_yet,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=SESSION_TIMEOUT_MS // 5,
        max_poll_interval_ms=300_000,
        rebalance_timeout_ms=SESSION_TIMEOUT_MS,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        title=f"{service}:{topic.name}",
    )


async def read_nothing_yet(records: Any, original: Callable[[Any], Any]) -> KafkaMessage:
    """FastStream decodes headers while it parses, and what fails there never reaches a middleware:
    it would spin for ever [A2].
    """
    message = await original(tuple(replace(record, headers=()) for record in records))
    message.raw_message = records
    return message


def make_broker(
    settings: ServiceSettings, service: str, db: Database, outbox: Outbox, guard: ConsumerGuard
) -> KafkaBroker:
    """A broker that consumes safely. Publishing goes through the outbox and its relay, never
    through the broker.
    """
    survive_closed_connections()
    pace_empty_fetches()
    watch_connections()
    return KafkaBroker(
        settings.kafka_bootstrap_servers.split(","),
        client_id=service,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        allow_auto_create_topics=False,
        graceful_timeout=GRACEFUL_SECONDS,
        middlewares=[
            lambda msg, context: ReliableConsume(
                msg, context=context, db=db, outbox=outbox, guard=guard
            )
        ],
        logger=None,
    )


def name_members(broker: KafkaBroker, instance: str | None) -> None:
    """Static membership (KIP-345): a killed consumer that comes back under its name rejoins in 0.04
    s instead of after the session timeout, and the embedded event log, which never expires a dead
    member, lets it in at all. FastStream takes the name only where a subscriber is declared, which
    is before settings are read; hence its private dictionary.
    """
    for subscriber in broker.subscribers:
        subscriber._connection_args["group_instance_id"] = instance  # noqa: SLF001

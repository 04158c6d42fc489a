"""Instruments in the forked child: the witness of each committed effect, a wrong clock, and guards
switched off on purpose.

The witness is a table without a unique key, written in the transaction of the effect: an effect
that happened twice has two rows there, even where the domain's own keys would hide it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from sqlalchemy import and_, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import uuid7
from services.capture import sources
from shared import clock, failpoints
from shared.events import consume, kafka_sender, losses, outbox, seams
from shared.events.sending import Delivery, OutboxRow, Place
from shared.jobs import store as job_store
from shared.storage import db

WITNESS = (
    "create table if not exists witness (service varchar(64), topic varchar(128), event_id"
    " varchar(128))"
)
_saw = text("insert into witness values (:service, :topic, :event_id)")


def witness_effects(service: str, slow: float = 0.0) -> None:
    original = consume.TopicConsumer._act

    async def act(
        self: consume.TopicConsumer, tx: AsyncConnection, received: consume.Received
    ) -> str:
        outcome = await original(self, tx, received)
        if outcome == "handled":
            await asyncio.sleep(slow)
            seen = {
                "service": service,
                "topic": received.record.topic,
                "event_id": received.event_id,
            }
            await tx.execute(_saw, seen)
        return outcome

    consume.TopicConsumer._act = act


def note_what_fires(path: str) -> None:
    """A process that kills itself cannot say afterwards what did it."""
    original = failpoints.reach

    def reach(name: str) -> None:
        armed = failpoints._armed.get(name)
        if armed and armed[1] <= 1:
            with Path(path).open("a") as file:
                file.write(f"{os.getpid()} {name}\n")
        original(name)

    failpoints.reach = reach


def take_detours(ports: Mapping[int, int]) -> None:
    """Brokers tell clients where they are: a proxy in front of one would be gone round after the
    first answer.
    """
    original = AIOKafkaConnection.__init__

    def init(self: AIOKafkaConnection, host: str, port: int, **options: Any) -> None:
        original(self, host, ports.get(port, port), **options)

    AIOKafkaConnection.__init__ = init


def set_clock(wrong_by: float) -> None:
    """Every clock of this process that is not the database's. What is imported by name is replaced
    where it was imported.
    """
    right = clock.now
    right_time = time.time

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=wrong_by)

    for module in list(sys.modules.values()):
        if getattr(module, "now", None) is right:
            module.now = now
    time.time = lambda: right_time() + wrong_by


def no_inbox() -> None:
    """Every delivery counts as the first."""
    original = outbox.Outbox.first_time

    async def first_time(self: outbox.Outbox, *arguments: Any, **options: Any) -> bool:
        await original(self, *arguments, **options)
        return True

    outbox.Outbox.first_time = first_time


def no_known_records() -> None:
    """Every record of an app's topic counts as new, and under an id that nobody had before."""

    async def digested_to(self: outbox.Outbox, *_: Any) -> dict[int, int]:
        return {}

    outbox.Outbox.digested_to = digested_to
    sources.client_id_of = lambda said, record: uuid7()


def no_acknowledgement() -> None:
    """The relay takes an event for sent once it has begun to send it: an outbox in name only."""
    original = kafka_sender.KafkaSender.send
    sending: set[asyncio.Task] = set()

    async def send(self: kafka_sender.KafkaSender, rows: Sequence[OutboxRow]) -> Delivery:
        async def later() -> None:
            await asyncio.sleep(0.2)
            await original(self, rows)

        sending.add(asyncio.create_task(later()))
        return Delivery({row.seq: Place(None, None) for row in rows})

    kafka_sender.KafkaSender.send = send


def no_outbox() -> None:
    """Events are kept in memory until they are sent, instead of in the transaction of their effect:
    nothing of them survives a kill.
    """

    async def add(self: outbox.Outbox, tx: Any, events: Sequence[Any]) -> None:
        sending.add(asyncio.create_task(direct(self, events)))

    async def direct(self: outbox.Outbox, events: Sequence[Any]) -> None:
        await asyncio.sleep(0.2)
        async with databases[0].transaction() as tx:
            await original(self, tx, events)

    def remember(self: db.Database, url: str) -> None:
        make(self, url)
        databases.append(self)

    original = outbox.Outbox.add_rendered
    make = db.Database.__init__
    databases = []
    sending = set()
    outbox.Outbox.add_rendered = add
    db.Database.__init__ = remember


def no_fence() -> None:
    """Whoever finishes a job is believed."""

    async def fenced(self: job_store.JobStore, tx: Any, job: Any, values: dict[str, Any]) -> None:
        await tx.execute(
            update(self.table).where(and_(self.table.c.job_id == job.job_id)).values(**values)
        )

    job_store.JobStore._fenced = fenced


async def trust_the_log(self: losses.Losses) -> None:
    """Take it that the log keeps what it acknowledged."""
    self.verified = seams.broken_connections()


def no_resend() -> None:
    losses.Losses.find = trust_the_log


SWITCHES: dict[str, Callable[[], None]] = {
    "no-inbox": no_inbox,
    "no-known-records": no_known_records,
    "no-outbox": no_outbox,
    "no-acknowledgement": no_acknowledgement,
    "no-fence": no_fence,
    "no-resend": no_resend,
}

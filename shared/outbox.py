"""Inbox and outbox: effect, "I have seen this event" and "these events follow" commit in one transaction.

The outbox table has the columns of Debezium's event router (id, aggregatetype, aggregateid, type, payload), so that
change data capture can replace our relay. The relay publishes what is committed and unsent, in order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Event
from schemas.topics import dead_letter_topic, published_by, topic_of
from shared.clock import now
from shared.db import Database, insert_once
from shared.errors import Retryable
from shared.telemetry import EVENTS_PUBLISHED, OUTBOX_PENDING, log

BATCH = 500
POLL_SECONDS = 1.0  # a commit in this process wakes the relay at once; this is for rows another process left


def outbox_tables(metadata: MetaData) -> tuple[Table, Table]:
    inbox = Table("inbox", metadata, Column("topic", String(128), primary_key=True),
                  Column("event_id", String(128), primary_key=True),
                  Column("received_at", DateTime(timezone=True), nullable=False))  # fmt: skip
    outbox = Table("outbox", metadata, Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
                   Column("id", String(128), nullable=False), Column("aggregatetype", String(128), nullable=False),
                   Column("aggregateid", String(256)), Column("type", String(128), nullable=False),
                   Column("payload", LargeBinary), Column("headers", String, nullable=False),
                   Column("created_at", DateTime(timezone=True), nullable=False),
                   Column("sent_at", DateTime(timezone=True), index=True))  # fmt: skip
    return inbox, outbox


class UndeclaredEvent(Exception):
    def __init__(self, service: str, event: Event) -> None:
        super().__init__(f"{service} may not publish {type(event).__name__}: declare it in schemas/topics.py")


class Outbox:
    """Where a service leaves the events that follow from its effects, and the ids it has digested."""

    def __init__(self, service: str, metadata: MetaData) -> None:
        self.service = service
        self.inbox, self.table = outbox_tables(metadata)
        self._declared = {topic.event for topic in published_by(service)}

    async def add(self, tx: AsyncConnection, *events: Event) -> None:
        """Publish `events` if, and only if, the transaction commits."""
        if events:
            await tx.execute(insert(self.table), [self._row(event) for event in events])

    async def dead_letter(self, tx: AsyncConnection, event_id: str, key: str | None, body: bytes, headers: dict[str, str]) -> None:
        """Put an undigested event on this service's DLQ, its bytes unchanged."""
        topic = dead_letter_topic(self.service)
        await tx.execute(insert(self.table).values(id=event_id, aggregatetype=topic, aggregateid=key, type="dead-letter",
                                                   payload=body, headers=json.dumps(headers), created_at=now()))  # fmt: skip

    async def first_time(self, tx: AsyncConnection, topic: str, event_id: str) -> bool:
        """Record that the event was digested; False when it was before (its effect must not happen again)."""
        return await insert_once(tx, self.inbox, {"topic": topic, "event_id": event_id, "received_at": now()})

    def _row(self, event: Event) -> dict[str, Any]:
        if type(event) not in self._declared:
            raise UndeclaredEvent(self.service, event)
        topic = topic_of(type(event))
        return {"id": event.event_id, "aggregatetype": topic.name, "aggregateid": getattr(event, topic.key),
                "type": type(event).__name__, "payload": event.model_dump_json().encode(),
                "headers": json.dumps(cloudevent_headers(event, self.service)), "created_at": now()}  # fmt: skip


def cloudevent_headers(event: Event, service: str) -> dict[str, str]:
    """CloudEvents 1.0 Kafka binding, binary mode: attributes are headers, the body is the data."""
    return {
        "ce_specversion": "1.0", "ce_id": event.event_id, "ce_source": f"/ratchet/{service}", "ce_type": type(event).__name__,
        "ce_time": event.occurred_at.isoformat(), "ce_subject": event.route, "ce_tenant": event.tenant,
        "ce_dataschema": f"{event.schema_name()}.json", "content-type": "application/json",
    }  # fmt: skip


class OutboxRow(Protocol):
    """What a sender needs of an outbox row."""

    seq: int
    id: str
    aggregatetype: str
    aggregateid: str | None
    payload: bytes | None
    headers: str


class Sender(Protocol):
    """Publishes rows in order and returns when the broker has acknowledged all of them."""

    async def send(self, rows: Sequence[OutboxRow]) -> None: ...
    async def close(self) -> None: ...


class BrokerUnavailable(Retryable):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"the event log did not answer: {type(cause).__name__}: {cause}")


class Relay:
    """Publishes what is committed and unsent, oldest first. One relay per database keeps the order within a key."""

    def __init__(self, db: Database, outbox: Outbox, sender: Sender) -> None:
        self.db, self.outbox, self.sender = db, outbox, sender
        self.log = log("relay")

    async def run(self) -> None:
        """For ever: drain, then wait for the next commit. Back-off while the broker is away."""
        delay = 0.2
        while True:
            try:
                self.db.committed.clear()
                while await self.drain_once():
                    pass
                delay = 0.2
                await self._next_commit()
            except Retryable as error:
                self.log.warning("not published, will retry", error=str(error), seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def drain_once(self) -> int:
        """Publish one batch; returns how many events it held."""
        table = self.outbox.table
        async with self.db.read() as connection:
            rows = (await connection.execute(select(table).where(table.c.sent_at.is_(None)).order_by(table.c.seq).limit(BATCH))).all()
        if not rows:
            OUTBOX_PENDING.set(0)
            return 0
        OUTBOX_PENDING.set(len(rows))
        await self.sender.send(rows)
        async with self.db.transaction() as tx:
            await tx.execute(update(table).where(table.c.seq.in_([row.seq for row in rows])).values(sent_at=now()))
        for row in rows:
            EVENTS_PUBLISHED.labels(row.aggregatetype).inc()
        return len(rows)

    async def pending(self) -> int:
        table = self.outbox.table
        async with self.db.read() as connection:
            return (await connection.execute(select(func.count()).where(table.c.sent_at.is_(None)))).scalar_one()

    async def _next_commit(self) -> None:
        try:
            await asyncio.wait_for(self.db.committed.wait(), POLL_SECONDS)
        except TimeoutError:
            pass

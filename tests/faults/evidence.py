"""What is left behind when everything is quiet: every outbox, inbox, witness and domain table, and
every record of the log.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import text

from infra.topics import planned
from schemas.topics import TOPICS, consumed_by, dead_letter_topic
from shared.events.received import event_id_of
from shared.storage.db import Database
from tests.faults.history import Operation

EventKey = tuple[str, str]  # topic, event id
READ_SECONDS = 60.0
DOMAIN = {
    "capture": {"ledger": "public_id"},
    "review": {"items": "item_id, inference_id, second_of, state"},
    "dataset-builder": {
        "verdicts": "review_id",
        "feedback": "feedback_id",
        "datasets": "dataset_id",
        "jobs": "job_id, key, state, error",
        "routes": "route, version",
    },
    "trainer": {
        "jobs": "job_id, key, state, error",
        "adapters": "adapter_id, job_id",
        "routes": "route, version",
    },
    "evaluator": {
        "jobs": "job_id, key, state, error",
        "evaluations": "evaluation_id",
        "reviews": "review_id",
        "feedback": "feedback_id",
        "routes": "route, version",
    },
    "router": {
        "decisions": "inference_id",
        "evaluations": "evaluation_id",
        "route_history": "route, version, state",
        "outcomes": "review_id",
        "calibrations": "calibration_id",
    },
}


@dataclass(frozen=True)
class Sent:
    """A row of an outbox."""

    service: str
    seq: int
    event_id: str
    topic: str
    key: str | None
    body: Mapping[str, Any]
    published: bool


@dataclass(frozen=True)
class Recorded:
    """A record of the log."""

    topic: str
    partition: int
    offset: int
    key: str | None
    event_id: str


@dataclass
class Evidence:
    """`foreign`: events that the test itself put on a topic, so that no outbox has them."""

    operations: list[Operation] = field(default_factory=list)
    outboxes: dict[str, list[Sent]] = field(default_factory=dict)
    inboxes: dict[str, dict[EventKey, str]] = field(default_factory=dict)
    witnesses: dict[str, Counter[EventKey]] = field(default_factory=dict)
    log: list[Recorded] = field(default_factory=list)
    tables: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    foreign: set[EventKey] = field(default_factory=set)

    def sent(self, topic: str) -> list[Sent]:
        return [row for rows in self.outboxes.values() for row in rows if row.topic == topic]

    def undigested(self) -> Counter[str]:
        """By consumer, the events that it has not digested yet."""
        found: Counter[str] = Counter()
        for topic in TOPICS:
            latest = (
                {row.key: row.event_id for row in self.sent(topic.name)} if topic.compacted else {}
            )
            for row in self.sent(topic.name):
                superseded = topic.compacted and latest[row.key] != row.event_id
                for consumer in topic.consumers:
                    if (row.topic, row.event_id) not in self.inboxes.get(
                        consumer, {}
                    ) and not superseded:
                        found[f"{consumer} of {topic.name}"] += 1
        return found


async def gather(
    databases: Mapping[str, str],
    servers: str,
    operations: Iterable[Operation],
    foreign: set[EventKey] | None = None,
) -> Evidence:
    evidence = Evidence(operations=list(operations), foreign=foreign or set())
    await read_databases(evidence, databases)
    evidence.log = await read_log(servers)
    return evidence


async def read_databases(evidence: Evidence, databases: Mapping[str, str]) -> None:
    for service, url in databases.items():
        rows = await query(
            url,
            "select seq, id, aggregatetype, aggregateid, payload, sent_at from outbox order by seq",
            "select topic, event_id, outcome from inbox",
            "select topic, event_id from witness",
            *(f"select {columns} from {table}" for table, columns in DOMAIN[service].items()),
        )
        outbox, inbox, witness, *domain = rows
        evidence.outboxes[service] = [sent(service, row) for row in outbox]
        evidence.inboxes[service] = {
            (row["topic"], row["event_id"]): row["outcome"] for row in inbox
        }
        evidence.witnesses[service] = Counter((row["topic"], row["event_id"]) for row in witness)
        evidence.tables[service] = dict(zip(DOMAIN[service], domain, strict=True))


async def query(url: str, *statements: str) -> list[list[dict[str, Any]]]:
    db = Database(url)
    try:
        async with db.read() as connection:
            return [
                [dict(row) for row in (await connection.execute(text(statement))).mappings()]
                for statement in statements
            ]
    finally:
        await db.close()


def sent(service: str, row: Mapping[str, Any]) -> Sent:
    own = row["aggregatetype"] != dead_letter_topic(service)
    body = json.loads(row["payload"]) if own else {}
    return Sent(
        service,
        row["seq"],
        row["id"],
        row["aggregatetype"],
        row["aggregateid"],
        body,
        row["sent_at"] is not None,
    )


async def read_log(servers: str) -> list[Recorded]:
    """Every record of every topic of ours, in the order of each partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    found: list[Recorded] = []
    try:
        partitions = [
            TopicPartition(plan.name, number)
            for plan in planned()
            for number in range(plan.partitions)
        ]
        consumer.assign(partitions)
        async with asyncio.timeout(READ_SECONDS):
            ends = await consumer.end_offsets(partitions)
            while [
                partition
                for partition in partitions
                if await consumer.position(partition) < ends[partition]
            ]:
                for records in (await consumer.getmany(timeout_ms=300)).values():
                    found += [recorded(record) for record in records]
    finally:
        await consumer.stop()
    return sorted(found, key=lambda record: (record.topic, record.partition, record.offset))


def recorded(record: Any) -> Recorded:
    key = record.key.decode("utf-8", "replace") if record.key is not None else None
    return Recorded(record.topic, record.partition, record.offset, key, event_id_of(record))


def consumers_of(topic: str) -> tuple[str, ...]:
    return next((known.consumers for known in TOPICS if known.name == topic), ())


def expects(service: str, topic: str) -> bool:
    return topic in {known.name for known in consumed_by(service)}

"""Makes the topics of schemas/topics.py with kafka-python's admin client, where they are missing.

Partitions grow and never shrink; `route-changed` is compacted. Every call blocks: from asyncio use
`asyncio.to_thread`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import CoordinatorNotAvailableError, KafkaError, TopicAlreadyExistsError

from schemas.base import JsonObject
from schemas.topics import SERVICES, TOPICS, consumed_by, dead_letter_topic, is_ours
from shared.errors import RatchetError

DEAD_LETTER_PARTITIONS = 3
TIMEOUT_MS = 10_000
CONNECT_MS = 3_000
# Bytes: Kafka's own default for max.message.bytes.
LARGEST_EVENT = 1_048_588


class BrokerAway(RatchetError):
    def __init__(self, servers: str, cause: BaseException) -> None:
        super().__init__(
            f"no Kafka answers at {servers} ({type(cause).__name__}): start it with 'ratchet up', "
            "or set KAFKA_BOOTSTRAP_SERVERS to one that runs"
        )


class ProvisioningFailed(RatchetError):
    def __init__(self, servers: str, cause: BaseException) -> None:
        super().__init__(f"Kafka at {servers} refused: {str(cause)[:400]}")


@dataclass(frozen=True)
class TopicPlan:
    name: str
    partitions: int
    compacted: bool = False

    def config(self, replication: int) -> dict[str, str]:
        """Return the topic's settings; of three replicas two must have an event for it to count."""
        config = {"cleanup.policy": "compact"} if self.compacted else {}
        # An event of the largest size must fit with the reasons why it could not be digested.
        if self.name.endswith("-dlq"):
            config["max.message.bytes"] = str(LARGEST_EVENT + 64 * 1024)
        return config | ({"min.insync.replicas": "2"} if replication >= 3 else {})


@dataclass(frozen=True)
class Provisioned:
    created: tuple[str, ...]
    grown: tuple[str, ...]


def planned() -> tuple[TopicPlan, ...]:
    events = (TopicPlan(topic.name, topic.partitions, topic.compacted) for topic in TOPICS)
    return (
        *events,
        *(TopicPlan(dead_letter_topic(service), DEAD_LETTER_PARTITIONS) for service in SERVICES),
    )


def provision(servers: str, replication: int = 1) -> Provisioned:
    """Create what is missing and grow what is too narrow."""
    with admin(servers) as client:
        there = partitions_of(client)
        missing = [plan for plan in planned() if plan.name not in there]
        if missing:
            wanted = {
                plan.name: {
                    "num_partitions": plan.partitions,
                    "replication_factor": replication,
                    "configs": plan.config(replication),
                }
                for plan in missing
            }
            create(client, wanted)
            # Where topics come by themselves, as on the embedded log, a client that asked meanwhile
            # has made one with a single partition.
            there = partitions_of(client)
        narrow = {
            plan.name: plan.partitions
            for plan in planned()
            if there.get(plan.name, plan.partitions) < plan.partitions
        }
        if narrow:
            client.create_partitions(narrow)
    return Provisioned(tuple(plan.name for plan in missing), tuple(narrow))


def create(client: KafkaAdminClient, wanted: dict[str, JsonObject]) -> None:
    try:
        client.create_topics(wanted, timeout_ms=TIMEOUT_MS, wait_for_metadata=True)
    # Somebody provisioned at the same moment; which of the batch were made is not said.
    except TopicAlreadyExistsError:
        there = partitions_of(client)
        if left := {name: options for name, options in wanted.items() if name not in there}:
            client.create_topics(left, timeout_ms=TIMEOUT_MS, wait_for_metadata=True)


def partitions_of(client: KafkaAdminClient) -> dict[str, int]:
    return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics()}


def describe(servers: str) -> list[JsonObject]:
    """Say of every planned topic how many partitions it has (0: missing) and events it keeps."""
    with admin(servers) as client:
        there = partitions_of(client)
        kept = kept_events(client, {plan.name: there.get(plan.name, 0) for plan in planned()})
    return [
        {
            "topic": plan.name,
            "partitions": there.get(plan.name, 0),
            "planned_partitions": plan.partitions,
            "compacted": plan.compacted,
            "events": kept.get(plan.name, 0),
        }
        for plan in planned()
    ]


def kept_events(client: KafkaAdminClient, partitions: dict[str, int]) -> dict[str, int]:
    every = [
        TopicPartition(name, index) for name, count in partitions.items() for index in range(count)
    ]
    first = offsets(client, every, OffsetSpec.EARLIEST)
    last = offsets(client, every, OffsetSpec.LATEST)
    return {name: sum(last[p] - first[p] for p in every if p.topic == name) for name in partitions}


def lag(servers: str, of_apps: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Count the events that each service has not digested yet, by topic, and of apps' own topics
    the records that capture has not.

    A group that never committed lags by all of them.
    """
    with admin(servers) as client:
        there = partitions_of(client)
        every = [
            TopicPartition(name, index)
            for name, count in there.items()
            for index in range(count)
            if not name.startswith("__")
        ]
        first = offsets(client, every, OffsetSpec.EARLIEST)
        last = offsets(client, every, OffsetSpec.LATEST)
        behind: dict[str, dict[str, int]] = {}
        for service in SERVICES:
            topics = [topic.name for topic in consumed_by(service)]
            for topic in [*topics, *(of_apps if service == "capture" else ())]:
                committed = committed_offsets(client, f"{service}.{topic}")
                behind.setdefault(service, {})[topic] = sum(
                    max(0, last[p] - max(committed.get(p, first[p]), first[p]))
                    for p in every
                    if p.topic == topic
                )
    return behind


def topics_read_by(client: KafkaAdminClient, service: str) -> list[str]:
    """Return the topics that a service reads: ours, and those of apps that a group of it read."""
    prefix = f"{service}."
    groups: list[str] = [group["group_id"] for group in client.list_groups()]
    read = {group.removeprefix(prefix) for group in groups if group.startswith(prefix)}
    ours = [topic.name for topic in consumed_by(service)]
    return ours + sorted(topic for topic in read if not is_ours(topic))


def offsets(
    client: KafkaAdminClient, partitions: list[TopicPartition], spec: OffsetSpec
) -> dict[TopicPartition, int]:
    if not partitions:
        return {}
    return {
        p: found.offset
        for p, found in client.list_partition_offsets(dict.fromkeys(partitions, spec)).items()
    }


def committed_offsets(client: KafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    try:
        return {
            p: found.offset for p, found in client.list_group_offsets({group: None})[group].items()
        }
    # A fresh cluster, in which no group ever committed.
    except CoordinatorNotAvailableError:
        return {}


@contextmanager
def admin(servers: str) -> Iterator[KafkaAdminClient]:
    # It logs each refused connection; we raise instead.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        client = KafkaAdminClient(
            bootstrap_servers=servers.split(","),
            client_id="ratchet",
            request_timeout_ms=TIMEOUT_MS,
            bootstrap_timeout_ms=CONNECT_MS,
        )
    except (KafkaError, OSError) as error:
        raise BrokerAway(servers, error) from error
    try:
        yield client
    except KafkaError as error:
        raise (BrokerAway if error.retriable else ProvisioningFailed)(servers, error) from error
    finally:
        client.close()

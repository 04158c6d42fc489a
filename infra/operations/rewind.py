"""Sets a stopped service's consumer groups back, so that it reads a part of the log again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import MemberToRemove, OffsetSpec, OffsetTimestamp
from kafka.errors import CoordinatorNotAvailableError, NoError
from kafka.structs import OffsetAndMetadata

from infra.operations.moments import moment
from infra.topics import admin, committed_offsets, offsets, partitions_of, topics_read_by
from schemas.base import JsonObject
from shared.errors import Conflict, Invalid
from shared.events import Partition


class StillReading(Conflict):
    def __init__(self, service: str, group: str) -> None:
        super().__init__(
            f"{service} is reading (group {group} has members): stop it first, or what it commits"
            " next would undo this. It was killed, and the log still lists it? Kafka forgets it"
            " within 15 s; or say --stopped"
        )


class NoSuchPlace(Invalid):
    def __init__(self, place: str, topics: list[str]) -> None:
        super().__init__(
            f"'{place}' is no place in the log: write TOPIC/PARTITION/OFFSET, with a topic that the"
            f" service reads ({', '.join(topics)}; of apps' own topics those that it has begun)"
        )


@dataclass(frozen=True)
class Start:
    """Where to read from: the beginning of everything, a moment, or one place in one partition."""

    at: datetime | None = None
    place: tuple[Partition, int] | None = None

    @property
    def beginning(self) -> bool:
        return self.at is None and self.place is None


def start_of(text: str, topics: list[str]) -> Start:
    """Read where to begin; `topics` are those that the service reads."""
    if text == "beginning":
        return Start()
    if "/" not in text:
        return Start(at=moment(text))
    topic, _, rest = text.partition("/")
    number, _, offset = rest.partition("/")
    if topic not in topics or not (number.isdigit() and offset.isdigit()):
        raise NoSuchPlace(text, topics)
    return Start(place=(Partition(topic, int(number)), int(offset)))


def topics_of(service: str, servers: str) -> list[str]:
    with admin(servers) as client:
        return topics_read_by(client, service)


def rewind(
    service: str,
    servers: str,
    topics: Iterable[str],
    start: Start,
    dry_run: bool,
    stopped: bool = False,
) -> dict[str, int]:
    """Set the groups back and return how many events of each topic will be read again.

    Nothing is set forward: what was never read stays to be read. `stopped` says that members which
    a group still lists are dead, and puts them out: the embedded log never does so by itself.
    """
    again: dict[str, int] = {}
    groups = {topic: f"{service}.{topic}" for topic in topics}
    with admin(servers) as client:
        for group in () if dry_run else groups.values():
            refuse_members(client, service, group, stopped)
        there = partitions_of(client)
        for topic, group in groups.items():
            committed = committed_offsets(client, group)
            places = wanted_offsets(client, topic, there.get(topic, 0), start)
            wanted = {at: offset for at, offset in places.items() if offset < committed.get(at, 0)}
            if wanted and not dry_run:
                set_back(client, service, group, wanted)
            again[topic] = sum(committed[at] - offset for at, offset in wanted.items())
    return again


def refuse_members(client: KafkaAdminClient, service: str, group: str, stopped: bool) -> None:
    members = members_of(client, group)
    if members and stopped:
        dead = [
            MemberToRemove(
                member_id=member["member_id"], group_instance_id=member.get("group_instance_id")
            )
            for member in members
        ]
        client.remove_group_members(group, dead)
        members = members_of(client, group)
    if members:
        raise StillReading(service, group)


def members_of(client: KafkaAdminClient, group: str) -> list[JsonObject]:
    try:
        members: list[JsonObject] = client.describe_groups([group])[group]["members"]
    # A fresh cluster, in which no group ever committed.
    except CoordinatorNotAvailableError:
        return []
    return members


def wanted_offsets(
    client: KafkaAdminClient, topic: str, partitions: int, start: Start
) -> dict[TopicPartition, int]:
    every = [TopicPartition(topic, number) for number in range(partitions)]
    first = offsets(client, every, OffsetSpec.EARLIEST)
    if start.place:
        at, offset = start.place
        return {found: max(offset, first[found]) for found in every if found == TopicPartition(*at)}
    if start.at is None:
        return first
    found = offsets(client, every, OffsetTimestamp(int(start.at.timestamp() * 1000)))
    # -1: nothing was written since
    return {at: offset for at, offset in found.items() if offset >= 0}


def set_back(
    client: KafkaAdminClient, service: str, group: str, wanted: dict[TopicPartition, int]
) -> None:
    said = client.alter_group_offsets(
        group, {at: OffsetAndMetadata(offset, "", -1) for at, offset in wanted.items()}
    )
    if any(error is not NoError for error in said.values()):
        raise StillReading(service, group)

"""What the relay and a sender say to each other: rows of one topic, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from shared.errors import Retryable


class Place(NamedTuple):
    """Where a record stands in the log."""

    partition: int
    offset: int


class OutboxRow(Protocol):
    """What a sender needs of an outbox row."""

    seq: int
    id: str
    aggregatetype: str
    aggregateid: str | None
    payload: bytes | None
    headers: str


class BrokerUnavailable(Retryable):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"the event log did not answer: {type(cause).__name__}: {cause}")


class TopicClosed(Retryable):
    """The log answers and takes nothing for this topic: a person must open it."""

    def __init__(self, topic: str, because: str) -> None:
        super().__init__(f"topic {topic} {because}")


@dataclass(frozen=True)
class Delivery:
    """What became of rows, by their `seq`.

    Each has a place, or the log refuses it for good and says why, or it waits because of `error`.
    """

    places: Mapping[int, Place] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    error: Retryable | None = None


class Sender(Protocol):
    """Publishes rows of one topic, those of one key in their order.

    Each message carries the row's id in the header `id`, as Debezium's event router does.
    """

    async def send(self, rows: Sequence[OutboxRow]) -> Delivery: ...
    async def close(self) -> None: ...

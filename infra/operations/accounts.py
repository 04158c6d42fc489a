"""Counts by topic and consumer: accepted = handled + dead-lettered + dropped + pending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from infra.operations.log import Span
from schemas.base import JsonObject
from shared.events import DEAD_LETTERED, DROPPED, HANDLED, Partition


def digest(event_id: str) -> bytes:
    """Shorten an id to 16 bytes: a set of 1,000,000 takes about 120 MB instead of 200."""
    return blake2b(event_id.encode(), digest_size=16).digest()


@dataclass
class Account:
    """What became of a topic's kept events at one consumer.

    `superseded`: a compacted topic replaced them before they were read. `undecided`: pending or
    lost, which only the log can tell.
    """

    topic: str
    consumer: str
    accepted: int = 0
    outcomes: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((HANDLED, DEAD_LETTERED, DROPPED), 0)
    )
    unsent: int = 0
    unread: int = 0
    superseded: int = 0
    undecided: int = 0
    lost: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    older: int = 0

    @property
    def pending(self) -> int:
        return self.unsent + self.unread

    @property
    def touched(self) -> bool:
        return bool(self.accepted or any(self.outcomes.values()) or self.strangers or self.older)

    def as_json(self) -> JsonObject:
        return {
            "topic": self.topic,
            "consumer": self.consumer,
            "accepted": self.accepted,
            **self.outcomes,
            "pending": self.pending,
            "unsent": self.unsent,
            "unread": self.unread,
            "superseded": self.superseded,
            "undecided": self.undecided,
            "lost": self.lost,
            "strangers": self.strangers,
            "older": self.older,
        }


@dataclass
class OnLog:
    """A topic as the log holds it; `vanished` were acknowledged, and are gone from it."""

    topic: str
    records: int = 0
    repeated: int = 0
    strangers: int = 0
    older: int = 0
    vanished: int = 0

    def as_json(self) -> JsonObject:
        return vars(self)


@dataclass
class Balance:
    """Everything `ratchet reconcile` found."""

    accounts: list[Account] = field(default_factory=list)
    log: list[OnLog] = field(default_factory=list)
    doubled: dict[str, list[str]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    keep_hours: float = 72.0
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        return sum(len(account.lost) for account in self.accounts)

    @property
    def undecided(self) -> int:
        return sum(account.undecided for account in self.accounts)

    @property
    def wrong(self) -> bool:
        return self.lost > 0 or any(self.doubled.values())

    @property
    def holds(self) -> bool:
        return not self.wrong and not self.undecided

    def as_json(self) -> JsonObject:
        return {
            "holds": self.holds,
            "lost": self.lost,
            "undecided": self.undecided,
            "doubled": self.doubled,
            "absent": self.absent,
            "keep_hours": self.keep_hours,
            "seconds": round(self.seconds, 2),
            "accounts": [account.as_json() for account in self.accounts],
            "log": [topic.as_json() for topic in self.log],
        }


def is_unread(
    partition: int | None,
    offset: int | None,
    spans: Mapping[Partition, Span],
    topic: str,
    committed: Mapping[int, int],
) -> bool:
    """Say whether a group has yet to read the event that was published at this place.

    One that the log forgot before the group came there is not: nobody will read it any more.
    """
    if partition is None or offset is None:
        return False
    span = spans.get(Partition(topic, partition))
    return span is not None and offset >= max(committed.get(partition, 0), span.begin)

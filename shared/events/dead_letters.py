"""What a service could not digest: written beside the inbox's word on it, bytes unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from aiokafka import ConsumerRecord

from schemas.base import JsonObject
from schemas.topics import LARGEST_EVENT_BYTES
from shared.events.tables import FAILED, KEY_CHARACTERS, UNREADABLE

ERROR_CHARACTERS = 500
ADDED_BY_REPLAY = {"x-replay", "x-replay-id"}
LEFT_OUT = {"x-left-out": "body and headers are too large for this topic: 'ratchet dlq show'"}


class Copy(NamedTuple):
    """A row for the outbox: a dead letter as the DLQ topic has it."""

    key: str | None
    body: bytes | None
    headers: str


@dataclass(frozen=True)
class DeadLetter:
    """One event that could not be digested, as it came, and why not."""

    topic: str
    event_id: str
    key: bytes | None
    body: bytes | None
    headers: Mapping[str, str]
    partition: int
    offset: int
    is_unreadable: bool
    error_type: str
    error: str
    attempts: int
    failed_at: datetime

    def row(self) -> JsonObject:
        """Return the columns of `dead_letters`."""
        return {
            "topic": self.topic,
            "event_id": self.event_id,
            "key": self.key,
            "body": self.body,
            "headers": json.dumps(self.headers),
            "log_partition": self.partition,
            "log_offset": self.offset,
            "cause": UNREADABLE if self.is_unreadable else FAILED,
            "error_type": self.error_type,
            "error": self.error,
            "attempts": self.attempts,
            "failed_at": self.failed_at,
        }

    def copy(self) -> Copy:
        """Return what the DLQ topic gets: a copy that the log takes, whatever came.

        Where body and headers are too large together they stay in the table, and that is said.
        """
        headers = json.dumps(self._exported_headers(self.headers))
        key = self.key.decode("utf-8", "replace") if self.key else None
        key = key if key and key.isprintable() and len(key) <= KEY_CHARACTERS else None
        if len(self.body or b"") + len(headers) <= LARGEST_EVENT_BYTES:
            return Copy(key, self.body, headers)
        return Copy(key, None, json.dumps(self._exported_headers(LEFT_OUT)))

    def _exported_headers(self, came: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of the copy on the DLQ topic: what came, from where, and why."""
        origin = {
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
        }
        if self.key is not None and len(self.key) <= KEY_CHARACTERS:
            origin["key"] = self.key.hex()
        return {
            **came,
            **{f"x-origin-{name}": value for name, value in origin.items()},
            "x-attempts": str(self.attempts),
            "x-error-type": self.error_type,
            "x-error": self.error,
            "x-failed-at": self.failed_at.isoformat(),
        }


def letter_of(
    record: ConsumerRecord,
    event_id: str,
    headers: Mapping[str, str],
    error: Exception,
    description: str,
    *,
    is_unreadable: bool,
    attempts: int,
    failed_at: datetime,
) -> DeadLetter:
    return DeadLetter(
        topic=record.topic,
        event_id=event_id,
        key=record.key,
        body=record.value,
        headers={name: value for name, value in headers.items() if name not in ADDED_BY_REPLAY},
        partition=record.partition,
        offset=record.offset,
        is_unreadable=is_unreadable,
        error_type=type(error).__name__,
        error=storable(description)[:ERROR_CHARACTERS],
        attempts=attempts,
        failed_at=failed_at,
    )


def storable(text: str) -> str:
    """Return text that every database takes: Postgres has no NUL, and no UTF-8 has half a pair."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()

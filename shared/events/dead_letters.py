"""What a service could not digest: written beside the inbox's word on it, bytes unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from aiokafka import ConsumerRecord

from schemas.base import JsonObject
from shared.events.tables import FAILED, UNREADABLE

ERROR_CHARACTERS = 500


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

    def exported_headers(self) -> dict[str, str]:
        """Return the headers of the copy on the DLQ topic: what came, from where, and why."""
        origin = {
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
        }
        origin |= {"key": self.key.hex()} if self.key is not None else {}
        return {
            **self.headers,
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
        headers={name: value for name, value in headers.items() if name != "x-replay"},
        partition=record.partition,
        offset=record.offset,
        is_unreadable=is_unreadable,
        error_type=type(error).__name__,
        error=description[:ERROR_CHARACTERS],
        attempts=attempts,
        failed_at=failed_at,
    )

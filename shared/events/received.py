"""One record as a consumer gets it, and the word that it was digested."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaMessage
from pydantic import ValidationError

from schemas.base import Event
from schemas.topics import is_ours
from shared.events.sending import Place
from shared.events.tables import ID_CHARACTERS
from shared.telemetry import COMMIT_FAILURES

# On a dead letter that an operator sends once more to a topic that is not ours.
REPLAYED_ID = "x-replay-id"


class Received(NamedTuple):
    """One record of a batch, read as far as it can be: `unreadable` says why it is no event."""

    record: ConsumerRecord
    event: Event | None = None
    unreadable: ValidationError | None = None

    @property
    def event_id(self) -> str:
        return event_id_of(self.record)

    @property
    def headers(self) -> dict[str, str]:
        return headers_of(self.record)

    @property
    def place(self) -> Place:
        return Place(self.record.partition, self.record.offset)

    @property
    def is_replayed(self) -> bool:
        """Say whether it has the id of a dead letter, and not that of its place."""
        return bool(self.record.headers) and REPLAYED_ID in self.headers

    def is_replayed_for(self, service: str) -> bool:
        """Say whether an operator sent this dead letter once more to `service`."""
        return self.headers.get("x-replay") == service


def event_id_of(record: ConsumerRecord) -> str:
    """Return the id that makes consumers idempotent.

    It is ours, CloudEvents', or for a foreign record its place in the log. A foreign id that no
    database would take (too long, not UTF-8, with control characters) goes by its digest: cut or
    mended, two of them could become one, and the second event would be lost.

    On a topic that is not ours a header named `id` may say anything, the same in each record, too.
    There only the place counts, with its time: a log that was lost gives its offsets out again.
    """
    headers = dict(record.headers or ())
    place = f"{record.topic}/{record.partition}/{record.offset}"
    if is_ours(record.topic):
        found: bytes | None = headers.get("id") or headers.get("ce_id")
    else:
        found = headers.get(REPLAYED_ID)
        place = f"{place}/{record.timestamp}"
    if not found:
        return place
    text = found.decode("utf-8", "replace")
    if text.isprintable() and len(text) <= ID_CHARACTERS and text.encode() == found:
        return text
    return f"sha256:{hashlib.sha256(found).hexdigest()}"


def headers_of(record: ConsumerRecord) -> dict[str, str]:
    """Return the headers as text.

    Those that are not UTF-8, or have no value, are made so: only their original bytes are poison.
    """
    return {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers or ()}


def count_commit_failures(message: KafkaMessage, topic: str) -> None:
    """Count offsets that could not be committed.

    FastStream logs the failure and goes on, which is right, since the inbox absorbs what comes
    again; but somebody should know.
    """
    acknowledge = message.ack

    async def counted() -> None:
        try:
            await acknowledge()
        except KafkaError:
            COMMIT_FAILURES.labels(topic).inc()
            raise

    message.ack = counted  # type: ignore[method-assign]

"""One record as a consumer gets it, and the word that it was digested."""

from __future__ import annotations

from dataclasses import dataclass

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaMessage
from pydantic import ValidationError

from schemas.base import Event
from shared.events.sending import Place
from shared.telemetry import COMMIT_FAILURES


@dataclass(frozen=True)
class Received:
    """One record of a batch, read as far as it can be: `unreadable` says why it is no event."""

    record: ConsumerRecord
    event_id: str
    headers: dict[str, str]
    event: Event | None
    unreadable: ValidationError | None = None

    @property
    def place(self) -> Place:
        return Place(self.record.partition, self.record.offset)

    def is_replayed_for(self, service: str) -> bool:
        """Say whether an operator sent this dead letter once more to `service`."""
        return self.headers.get("x-replay") == service


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

"""The event log: inbox, outbox and relay on one side, consumers on the other."""

from shared.events.backlog import size_of
from shared.events.bus import BATCH, GRACEFUL_SECONDS, Handlers, make_broker, subscribe
from shared.events.health import Health
from shared.events.housekeeping import INBOX_KEEP, Housekeeping
from shared.events.kafka_sender import LARGEST_MESSAGE, KafkaSender
from shared.events.log_guard import ConsumerGuard, KafkaLogReader, Partition
from shared.events.log_size import LogSize
from shared.events.outbox import DEAD_LETTER, EventTooLarge, Outbox
from shared.events.reading import Reading
from shared.events.received import REPLAYED_ID, event_id_of
from shared.events.records import Taker
from shared.events.relay import Relay, lease_table
from shared.events.rendering import Rendered, Renderer, cloudevent_headers, rendered
from shared.events.sending import Delivery, OutboxRow, Place, Sender
from shared.events.tables import (
    DEAD_LETTERED,
    DROPPED,
    FAILED,
    HANDLED,
    UNREADABLE,
    EventTables,
    event_tables,
)

__all__ = [
    "BATCH",
    "DEAD_LETTER",
    "DEAD_LETTERED",
    "DROPPED",
    "FAILED",
    "GRACEFUL_SECONDS",
    "HANDLED",
    "INBOX_KEEP",
    "LARGEST_MESSAGE",
    "REPLAYED_ID",
    "UNREADABLE",
    "ConsumerGuard",
    "Delivery",
    "EventTables",
    "EventTooLarge",
    "Handlers",
    "Health",
    "Housekeeping",
    "KafkaLogReader",
    "KafkaSender",
    "LogSize",
    "Outbox",
    "OutboxRow",
    "Partition",
    "Place",
    "Reading",
    "Relay",
    "Rendered",
    "Renderer",
    "Sender",
    "Taker",
    "cloudevent_headers",
    "event_id_of",
    "event_tables",
    "lease_table",
    "make_broker",
    "rendered",
    "size_of",
    "subscribe",
]

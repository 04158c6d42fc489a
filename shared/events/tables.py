"""The four tables that every service has for its events.

The outbox has the columns of Debezium's event router (id, aggregatetype, aggregateid, type,
payload), so that change data capture can replace our relay.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    true,
)

from shared.storage import timestamp

# What became of an event (inbox.outcome). An operator drops a dead letter that nobody wants.
HANDLED = "handled"
DEAD_LETTERED = "dead-lettered"
DROPPED = "dropped"

ID_CHARACTERS = 128
KEY_CHARACTERS = 256

# Whose fault a dead letter is (dead_letters.cause).
UNREADABLE = "unreadable"  # its bytes are no event of this topic
FAILED = "failed"  # our own code could not digest a valid event


@dataclass(frozen=True)
class EventTables:
    inbox: Table
    outbox: Table
    dead_letters: Table
    pauses: Table


def event_tables(metadata: MetaData) -> EventTables:
    return EventTables(
        inbox_table(metadata),
        outbox_table(metadata),
        dead_letters_table(metadata),
        pauses_table(metadata),
    )


def inbox_table(metadata: MetaData) -> Table:
    inbox = Table(
        "inbox",
        metadata,
        Column("topic", String(128), primary_key=True),
        Column("event_id", String(ID_CHARACTERS), primary_key=True),
        timestamp("received_at", nullable=False),
        Column("outcome", String(16), nullable=False),
        Column("log_partition", Integer),
        Column("log_offset", BigInteger),
        Index("inbox_place", "topic", "log_partition", "log_offset"),
    )
    # Housekeeping asks for the oldest that nobody will ask for again.
    handled = inbox.c.outcome == HANDLED
    Index("inbox_received", inbox.c.received_at, sqlite_where=handled, postgresql_where=handled)
    return inbox


def outbox_table(metadata: MetaData) -> Table:
    outbox = Table(
        "outbox",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("id", String(ID_CHARACTERS), nullable=False),
        Column("aggregatetype", String(128), nullable=False),
        Column("aggregateid", String(KEY_CHARACTERS)),
        Column("type", String(128), nullable=False),
        Column("payload", LargeBinary),
        Column("headers", String, nullable=False),
        timestamp("created_at", nullable=False),
        timestamp("sent_at"),
        Column("log_partition", Integer),
        Column("log_offset", BigInteger),
        # The log refuses this row for good: it waits for a person, and nothing waits for it.
        timestamp("parked_at"),
        Column("parked_because", String),
    )
    sent = outbox.c.sent_at.is_not(None)
    Index(
        "outbox_place",
        outbox.c.aggregatetype,
        outbox.c.log_partition,
        outbox.c.log_offset,
        sqlite_where=sent,
        postgresql_where=sent,
    )
    waits = and_(outbox.c.sent_at.is_(None), outbox.c.parked_at.is_(None))
    Index(
        "outbox_waiting",
        outbox.c.aggregatetype,
        outbox.c.seq,
        sqlite_where=waits,
        postgresql_where=waits,
    )
    Index("outbox_sent", outbox.c.sent_at, sqlite_where=sent, postgresql_where=sent)
    parked = outbox.c.parked_at.is_not(None)
    Index("outbox_parked", outbox.c.seq, sqlite_where=parked, postgresql_where=parked)
    return outbox


def dead_letters_table(metadata: MetaData) -> Table:
    """Make a row for each time that an event could not be digested; the inbox says what became of
    it.
    """
    return Table(
        "dead_letters",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("topic", String(128), nullable=False),
        Column("event_id", String(ID_CHARACTERS), nullable=False),
        Column("key", LargeBinary),
        Column("body", LargeBinary),  # unchanged; NULL for a tombstone, and where it is gone
        Column("body_is_kept", Boolean, nullable=False, server_default=true()),
        Column("headers", String, nullable=False),  # JSON, as they came
        Column("log_partition", Integer),
        Column("log_offset", BigInteger),
        Column("cause", String(16), nullable=False),
        Column("error_type", String, nullable=False),
        Column("error", String, nullable=False),
        Column("attempts", Integer, nullable=False),
        timestamp("failed_at", nullable=False),
        Index("dead_letters_event", "topic", "event_id"),
        Index("dead_letters_failed", "failed_at"),
    )


def pauses_table(metadata: MetaData) -> Table:
    """Make a row for each consumer that failures of our own code have ever paused."""
    return Table(
        "consumer_pauses",
        metadata,
        Column("topic", String(128), primary_key=True),
        timestamp("paused_at", nullable=False),
        Column("because", String, nullable=False),
        Column("version", String(64), nullable=False),  # of the code that failed
        timestamp("resumed_at"),  # NULL while it is paused
    )

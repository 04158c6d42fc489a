"""Fills the tables of a service that has run for long, by statements that the database runs alone.

Of the rows `old_share` is older than it is kept, so housekeeping has them to delete; the others
stay. Ids are ordered by time, as UUIDs of version 7 are.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.schema import CreateIndex, CreateTable

from shared.events import Outbox, lease_table
from shared.storage import Database

SERVICE = "evaluator"
TOPIC = "adapter-evaluated"
READ = "inference-recorded"
PARTITIONS = 12
# Older than an outbox keeps (72 h) and an inbox keeps (30 days), and the rows that stay.
OLD_HOURS = 24 * 40
FRESH_HOURS = 1


@dataclass(frozen=True)
class Tables:
    """The tables of one service in one database."""

    db: Database
    metadata: MetaData
    outbox: Outbox
    lease: Table


def make_tables(db: Database) -> Tables:
    metadata = MetaData()
    return Tables(db, metadata, Outbox(SERVICE, metadata), lease_table(metadata))


async def fill(tables: Tables, rows: int, old_share: float, payload: int) -> None:
    """Put `rows` rows of `payload` bytes into the outbox, all sent, and as many into the inbox.

    Indexes are made afterwards, which takes a third of the time.
    """
    old = round(rows * old_share)
    async with tables.db.transaction() as tx:
        await tx.run_sync(_fill, tables, rows, old, payload)
    # A service of many years has no log as long as its tables, and is in no checkpoint of them.
    sqlite = ("pragma wal_checkpoint(truncate)",)
    settle = sqlite if tables.db.is_sqlite else ("vacuum analyze", "checkpoint")
    async with tables.db.engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT", read_only=True)
        for statement in settle:
            await alone.execute(text(statement))


def _fill(connection: Connection, tables: Tables, rows: int, old: int, payload: int) -> None:
    for table in tables.metadata.sorted_tables:
        connection.execute(CreateTable(table))
    sqlite = tables.db.is_sqlite
    statements = (SQLITE_OUTBOX, SQLITE_INBOX) if sqlite else (POSTGRES_OUTBOX, POSTGRES_INBOX)
    values = {
        "rows": rows,
        "old": old,
        "payload": payload,
        "partitions": PARTITIONS,
        "old_hours": OLD_HOURS,
        "fresh_hours": FRESH_HOURS,
        "topic": TOPIC,
        "read": READ,
    }
    for statement in statements:
        named = {name: value for name, value in values.items() if f":{name}" in statement}
        connection.execute(text(statement), named)
    for table in tables.metadata.sorted_tables:
        for index in table.indexes:
            connection.execute(CreateIndex(index))


SQLITE_AGE = (
    "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' ||"
    " (CASE WHEN n <= :old THEN :old_hours * 3600 ELSE :fresh_hours * 3600 END"
    " - n * 0.0001) || ' seconds')"
)
SQLITE_NUMBERS = (
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows) "
)
SQLITE_OUTBOX = f"""
INSERT INTO outbox (seq, id, aggregatetype, aggregateid, type, payload, headers, created_at,
                    sent_at, log_partition, log_offset)
{SQLITE_NUMBERS}
SELECT n, printf('%036d', n), :topic, 'acme/support-triage', 'AdapterEvaluated',
       zeroblob(:payload), '{{}}', {SQLITE_AGE}, {SQLITE_AGE}, n % :partitions, n / :partitions
FROM numbers
"""  # noqa: S608 - our own names
SQLITE_INBOX = f"""
INSERT INTO inbox (topic, event_id, received_at, outcome, log_partition, log_offset)
{SQLITE_NUMBERS}
SELECT :read, printf('%036d', n), {SQLITE_AGE}, 'handled', n % :partitions, n / :partitions
FROM numbers
"""  # noqa: S608 - our own names
POSTGRES_AGE = (
    "now() - make_interval(secs => (CASE WHEN n <= :old THEN :old_hours * 3600"
    " ELSE :fresh_hours * 3600 END) - n * 0.0001)"
)
POSTGRES_OUTBOX = f"""
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, created_at,
                    sent_at, log_partition, log_offset)
SELECT lpad(n::text, 36, '0'), :topic, 'acme/support-triage', 'AdapterEvaluated',
       decode(repeat('00', :payload), 'hex'), '{{}}', {POSTGRES_AGE}, {POSTGRES_AGE},
       n % :partitions, n / :partitions
FROM generate_series(1, :rows) AS n
"""  # noqa: S608 - our own names
POSTGRES_INBOX = f"""
INSERT INTO inbox (topic, event_id, received_at, outcome, log_partition, log_offset)
SELECT :read, lpad(n::text, 36, '0'), {POSTGRES_AGE}, 'handled', n % :partitions, n / :partitions
FROM generate_series(1, :rows) AS n
"""  # noqa: S608 - our own names

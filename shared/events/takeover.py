"""Takes over the dead letters of release 0.1, which kept them in the outbox and on the DLQ topic.

The migration lists them by their place alone; this fills in what the outbox still has. It runs at
the start and hourly: while replicas are replaced, one of the old release may still write letters.
It can go with release 0.3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, MetaData, Row, and_, delete, exists, false, insert, select, true

from schemas.base import JsonObject
from schemas.topics import dead_letter_topic
from shared.events.tables import FAILED, UNREADABLE, EventTables, event_tables

LETTER = "dead-letter"  # outbox.type
ADDED = ("x-origin-", "x-attempts", "x-error", "x-failed-at", "x-replay")
UNREADABLE_ERRORS = ("ValidationError", "JSONDecodeError", "UnicodeDecodeError", "RecursionError")


def take_over_letters(connection: Connection, service: str) -> None:
    """Copy the dead letters of which the outbox has the bytes and the table has not."""
    tables = event_tables(MetaData())
    rows = [*from_outbox(connection, tables, service)]
    if not rows:
        return
    letters = tables.dead_letters
    events = [row["event_id"] for row in rows]
    connection.execute(
        delete(letters).where(letters.c.event_id.in_(events), letters.c.body_is_kept == false())
    )
    connection.execute(insert(letters), rows)


def from_outbox(connection: Connection, tables: EventTables, service: str) -> Iterator[JsonObject]:
    outbox = tables.outbox
    letters = tables.dead_letters
    known = exists().where(letters.c.event_id == outbox.c.id, letters.c.body_is_kept == true())
    wanted = and_(
        outbox.c.aggregatetype == dead_letter_topic(service), outbox.c.type == LETTER, ~known
    )
    for row in connection.execute(select(outbox).where(wanted).order_by(outbox.c.seq)).all():
        headers = json.loads(row.headers)
        if "x-origin-topic" in headers:
            yield as_letter(row, headers)


def as_letter(row: Row[Any], headers: dict[str, str]) -> JsonObject:
    key = headers.get("x-origin-key")
    error_type = headers.get("x-error-type", "unknown")
    failed_at = headers.get("x-failed-at")
    return {
        "topic": headers["x-origin-topic"],
        "event_id": row.id,
        "key": None if key is None else bytes.fromhex(key),
        "body": row.payload,
        "headers": json.dumps(
            {name: value for name, value in headers.items() if not name.startswith(ADDED)}
        ),
        "log_partition": int(headers.get("x-origin-partition", -1)),
        "log_offset": int(headers.get("x-origin-offset", -1)),
        "cause": UNREADABLE if error_type in UNREADABLE_ERRORS else FAILED,
        "error_type": error_type,
        "error": headers.get("x-error", ""),
        "attempts": int(headers.get("x-attempts", 1)),
        "failed_at": datetime.fromisoformat(failed_at) if failed_at else row.created_at,
    }

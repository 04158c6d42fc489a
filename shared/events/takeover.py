"""Takes over the dead letters of release 0.1, which kept them in the outbox and on the DLQ topic.

The migration lists them by their place alone; this fills in what the outbox still has. It runs at
the start and an hour later: while replicas are replaced, one of the old release may still write
letters.
It can go with release 0.3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, MetaData, Row, and_, delete, false, insert, select, true

from schemas.base import JsonObject
from schemas.topics import dead_letter_topic
from shared.events.outbox import DEAD_LETTER
from shared.events.tables import FAILED, UNREADABLE, EventTables, event_tables

ADDED = ("x-origin-", "x-attempts", "x-error", "x-failed-at", "x-replay")
UNREADABLE_ERRORS = ("ValidationError", "JSONDecodeError", "UnicodeDecodeError", "RecursionError")


def letters_left(connection: Connection, service: str) -> list[JsonObject]:
    """Return the dead letters of which the outbox has the bytes and the table has not.

    Only reads. The outbox may hold millions of rows and has two partial indexes: sent rows are
    found by their topic, unsent ones are few.
    """
    tables = event_tables(MetaData())
    outbox = tables.outbox
    copies = select(outbox.c.seq, outbox.c.id, outbox.c.headers).where(
        outbox.c.aggregatetype == dead_letter_topic(service), outbox.c.type == DEAD_LETTER
    )
    left = [
        row.seq
        for state in (
            outbox.c.sent_at.is_not(None),
            and_(outbox.c.sent_at.is_(None), outbox.c.parked_at.is_(None)),
        )
        for row in connection.execute(copies.where(state)).all()
        if not is_known(connection, tables, row.id, row.headers)
    ]
    found = [
        connection.execute(select(outbox).where(outbox.c.seq == seq)).one() for seq in sorted(left)
    ]
    return [as_letter(row) for row in found]


def take_over(connection: Connection, rows: Sequence[JsonObject]) -> None:
    """Store these letters, in the place of what the migration knew of them."""
    letters = event_tables(MetaData()).dead_letters
    for row in rows:
        same = and_(letters.c.topic == row["topic"], letters.c.event_id == row["event_id"])
        connection.execute(delete(letters).where(same, letters.c.body_is_kept == false()))
    connection.execute(insert(letters), rows)


def is_known(connection: Connection, tables: EventTables, event_id: str, headers: str) -> bool:
    """Say whether the table has the letter already, or the copy does not tell what it is of."""
    letters = tables.dead_letters
    topic = json.loads(headers).get("x-origin-topic")
    kept = select(letters.c.seq).where(
        letters.c.topic == topic, letters.c.event_id == event_id, letters.c.body_is_kept == true()
    )
    return topic is None or connection.execute(kept).first() is not None


def as_letter(row: Row[Any]) -> JsonObject:
    headers: dict[str, str] = json.loads(row.headers)
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

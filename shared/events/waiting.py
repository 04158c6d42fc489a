"""The SQL of outbox rows that the log does not have: those that wait, and those that are parked.

A parked row is one that the log refuses for good. It waits for a person, and nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Row,
    Select,
    Table,
    and_,
    func,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import now
from shared.storage import stored, update_many

# Counting stops here: a number of this size says the same as a larger one, and a probe must not
# read an index of ten million entries.
COUNT_AT_MOST = 10_000
REASON_CHARACTERS = 500


async def waiting_rows(
    connection: AsyncConnection, table: Table, topics: tuple[str, ...], limit: int
) -> Sequence[Row[Any]]:
    """Return up to `limit` rows of each topic that the log is to have, oldest first."""
    if not topics:
        return []
    rows: Sequence[Row[Any]] = (await connection.execute(_waiting(table, topics, limit))).all()
    return rows


async def oldest_waiting(
    connection: AsyncConnection, table: Table, topics: Sequence[str]
) -> Row[Any] | None:
    """Return the oldest row that waits for one of `topics`."""
    rows = await waiting_rows(connection, table, tuple(topics), 1)
    return min(rows, key=lambda row: row.seq, default=None)


def newest_of_each_key(table: Table, *among: ColumnElement[bool]) -> Select[int]:
    """Select the `seq` of the newest row of each key: of a compacted topic, its state."""
    return select(func.max(table.c.seq)).where(*among).group_by(table.c.aggregateid)


async def count_waiting(connection: AsyncConnection, table: Table) -> int:
    """Count the rows that wait, up to COUNT_AT_MOST."""
    waits = and_(table.c.sent_at.is_(None), table.c.parked_at.is_(None))
    return await _count(connection, select(table.c.seq).where(waits))


async def count_parked(connection: AsyncConnection, table: Table) -> int:
    """Count the rows that are parked, up to COUNT_AT_MOST."""
    return await _count(connection, select(table.c.seq).where(table.c.parked_at.is_not(None)))


async def park(tx: AsyncConnection, table: Table, refused: Mapping[int, str]) -> None:
    """Set rows aside, by their `seq`, each with the reason."""
    at = stored(table.c.parked_at, now(), tx.dialect)
    marks = [(at, why[:REASON_CHARACTERS], seq) for seq, why in refused.items()]
    await update_many(tx, table, ("parked_at", "parked_because"), "seq", marks)


@lru_cache(64)
def _waiting(table: Table, topics: tuple[str, ...], limit: int) -> CompoundSelect[Any]:
    """Each topic's rows come from an index of their own: a topic that is shut may have millions."""
    return union_all(
        *(
            select(
                select(table)
                .where(
                    table.c.aggregatetype == topic,
                    table.c.sent_at.is_(None),
                    table.c.parked_at.is_(None),
                )
                .order_by(table.c.seq)
                .limit(limit)
                .subquery()
            )
            for topic in topics
        )
    )


async def _count(connection: AsyncConnection, rows: Select[Any]) -> int:
    some = rows.limit(COUNT_AT_MOST).subquery()
    counted = select(func.count()).select_from(some)
    return (await connection.execute(counted)).scalar_one()

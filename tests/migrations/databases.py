"""Databases at any revision of any service, with rows as that revision's code would write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, MetaData, Table, select

from infra.migrations import migrations_of
from shared.storage.db import Database

RELEASED = "0001"  # the last release that had no migrations
MOMENT = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


async def tables_at(service: str, db: Database, revision: str) -> MetaData:
    """Moves the database there, and returns what the code of that revision knows of it."""
    await migrations_of(service).move(db, revision)
    metadata = MetaData()
    async with db.read() as connection:
        await connection.run_sync(metadata.reflect)
    metadata.remove(metadata.tables["alembic_version"])
    return metadata


def a_row(table: Table, number: int, everything: bool = True) -> dict[str, Any]:
    """A value for every column, or only for those that must have one."""
    return {
        column.name: a_value(column, number)
        for column in table.columns
        if everything or column.primary_key or not column.nullable
    }


def a_value(column: sa.Column, number: int) -> Any:
    if column.name == "payload" and isinstance(column.type, sa.JSON):
        return {"route": f"acme/route-{number}", "n": number}
    kinds = {
        sa.JSON: {"n": number},
        sa.DateTime: MOMENT,
        sa.LargeBinary: b"\x00\xff" + bytes([number]),
        sa.Boolean: True,
        sa.Integer: number,
        sa.Float: number + 0.25,
        sa.String: f"{column.name}-{number}"[: getattr(column.type, "length", None) or 40],
    }
    return next(value for kind, value in kinds.items() if isinstance(column.type, kind))


def fill(
    connection: Connection,
    tables: MetaData,
    numbers: tuple[int, ...] = (1, 2),
    everything: bool = True,
) -> None:
    for table in tables.sorted_tables:
        connection.execute(table.insert(), [a_row(table, number, everything) for number in numbers])


def rows(connection: Connection, tables: MetaData) -> dict[str, list[str]]:
    """Every row, with the columns that `tables` knows."""
    found = {
        table.name: connection.execute(select(*table.columns)).all()
        for table in tables.sorted_tables
    }
    return {
        name: sorted(json.dumps([plain(value) for value in row]) for row in every)
        for name, every in found.items()
    }


def plain(value: Any) -> Any:
    """SQLite forgets the time zone."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    return value.hex() if isinstance(value, bytes) else value

"""Dead letters of release 0.1, which had no table for them, are there after the upgrade."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import insert, select

from infra.migrations import migrations_of
from schemas.topics import SERVICES
from shared.clock import now
from shared.events import event_tables
from shared.events.takeover import letters_left, take_over
from shared.storage.db import Database
from tests.migrations.databases import tables_at

HEADERS = {
    "ce_type": "DatasetBuilt",
    "x-origin-topic": "dataset-built",
    "x-origin-partition": "2",
    "x-origin-offset": "7",
    "x-origin-key": b"acme/support".hex(),
    "x-attempts": "1",
    "x-error-type": "ValidationError",
    "x-error": "route: Field required",
    "x-failed-at": "2026-11-25T03:00:00+00:00",
}


def as_release_0_1_wrote_them(connection: sa.Connection, service: str, tables: sa.MetaData) -> None:
    """One letter that the outbox still has, one whose body only the DLQ topic has."""
    inbox = tables.tables["inbox"]
    for event_id in ("kept", "gone"):
        row = {"topic": "dataset-built", "event_id": event_id, "received_at": now()}
        place = {"log_partition": 2, "log_offset": 7}
        connection.execute(insert(inbox).values(**row, **place, outcome="dead-lettered"))
    letter: dict[str, Any] = {"id": "kept", "type": "dead-letter", "payload": b"\xff\x00"}
    letter |= {"aggregatetype": f"{service}-dlq", "headers": json.dumps(HEADERS)}
    connection.execute(insert(tables.tables["outbox"]).values(**letter, created_at=now()))


@pytest.mark.parametrize("service", SERVICES)
async def test_the_letters_of_release_0_1_are_taken_over(service: str, db: Database) -> None:
    migrations = migrations_of(service)
    [added] = migrations.folder.glob("versions/*_dead_letters.py")
    last = migrations.revisions.index(added.name.partition("_")[0]) - 1
    before = await tables_at(service, db, migrations.revisions[last])
    async with db.transaction() as tx:
        await tx.run_sync(as_release_0_1_wrote_them, service, before)
    await migrations.upgrade(db)
    async with db.transaction() as tx:
        await tx.run_sync(take_over, await tx.run_sync(letters_left, service))
    letters = event_tables(sa.MetaData()).dead_letters
    async with db.read() as connection:
        rows = (await connection.execute(select(letters).order_by(letters.c.event_id))).all()
    gone, kept = rows
    assert (kept.event_id, kept.body, kept.key) == ("kept", b"\xff\x00", b"acme/support")
    assert json.loads(kept.headers) == {"ce_type": "DatasetBuilt"}
    assert (kept.topic, kept.log_partition, kept.log_offset) == ("dataset-built", 2, 7)
    assert (kept.cause, kept.error_type, kept.attempts) == ("unreadable", "ValidationError", 1)
    assert (gone.event_id, gone.body, gone.body_is_kept) == ("gone", None, False)


async def test_what_a_replica_of_release_0_1_writes_after_the_upgrade_is_taken_over_once(
    db: Database,
) -> None:
    await migrations_of("trainer").upgrade(db)
    tables = event_tables(sa.MetaData())
    async with db.transaction() as tx:
        await tx.run_sync(as_release_0_1_wrote_them, "trainer", tables.inbox.metadata)
        await tx.run_sync(take_over, await tx.run_sync(letters_left, "trainer"))
        assert await tx.run_sync(letters_left, "trainer") == []
        found = (await tx.execute(select(tables.dead_letters.c.event_id))).scalars().all()
    assert found == ["kept"]

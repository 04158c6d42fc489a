"""Concurrent commits share a transaction, and one bad item harms no other."""

import asyncio

import pytest
from sqlalchemy import Column, MetaData, String, Table, func, insert, select

from shared.storage.db import Database
from shared.storage.group_commit import GroupCommit

metadata = MetaData()
ITEMS = Table("items", metadata, Column("name", String(20), primary_key=True))


@pytest.fixture
async def group(db: Database) -> GroupCommit:
    await db.create_tables(metadata)
    batches: list[int] = []

    async def write(tx, items: list[str]) -> None:
        batches.append(len(items))
        await tx.execute(insert(ITEMS), [{"name": item} for item in items])

    group = GroupCommit(db, write)
    group.batches = batches
    return group


async def stored(db: Database) -> int:
    async with db.read() as connection:
        return (await connection.execute(select(func.count()).select_from(ITEMS))).scalar_one()


async def test_concurrent_items_share_transactions_and_all_are_stored(
    db: Database, group: GroupCommit
) -> None:
    await asyncio.gather(*(group.commit(f"item-{n}") for n in range(100)))
    assert await stored(db) == 100
    assert len(group.batches) < 10


async def test_one_bad_item_fails_alone(db: Database, group: GroupCommit) -> None:
    await group.commit("taken")
    outcomes = await asyncio.gather(
        *(group.commit(name) for name in ("a", "taken", "b")), return_exceptions=True
    )
    assert [outcome is None for outcome in outcomes] == [True, False, True]
    assert await stored(db) == 3


async def test_a_caller_that_gave_up_still_lets_the_others_commit(
    db: Database, group: GroupCommit
) -> None:
    impatient = asyncio.create_task(group.commit("impatient"))
    patient = asyncio.create_task(group.commit("patient"))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert await stored(db) == 2

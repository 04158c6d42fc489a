"""Concurrent commits share a transaction, and one bad item harms no other."""

import asyncio

import pytest
from sqlalchemy import Column, MetaData, String, Table, func, insert, select

from shared.storage import group_commit
from shared.storage.db import Database, DatabaseUnavailable
from shared.storage.group_commit import LATER_SECONDS, DatabaseBehind, GroupCommit
from shared.telemetry import COMMITS_LOST

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


async def test_what_nobody_waits_for_is_stored_together_a_little_later(
    db: Database, group: GroupCommit
) -> None:
    for number in range(100):
        group.commit_later(f"item-{number}")
    assert await stored(db) == 0
    await until_stored(db, 100)
    assert group.batches == [100]


async def test_who_waits_hurries_the_others(
    db: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LATER_SECONDS", 60.0)
    group.commit_later("later")
    async with asyncio.timeout(30):
        await group.commit("now")
    assert await stored(db) == 2


async def test_one_bad_item_among_those_is_counted_and_the_others_are_stored(
    db: Database, group: GroupCommit
) -> None:
    await group.commit("taken")
    before = COMMITS_LOST._value.get()
    for name in ("a", "taken", "b"):
        group.commit_later(name)
    await until_stored(db, 3)
    await group.flush()
    assert COMMITS_LOST._value.get() == before + 1


async def test_while_the_database_is_away_items_wait_and_beyond_a_number_no_more_are_taken(
    db: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MOST_LATER", 3)
    monkeypatch.setattr(group_commit, "RETRY_SECONDS", 0.01)
    write, away = group.write, [True]

    async def or_away(tx, items: list[str]) -> None:
        if away[0]:
            raise DatabaseUnavailable(OSError())
        await write(tx, items)

    group.write = or_away
    for name in "abc":
        group.commit_later(name)
    await asyncio.sleep(3 * LATER_SECONDS)
    with pytest.raises(DatabaseBehind):
        group.commit_later("d")
    with pytest.raises(DatabaseUnavailable):
        await group.commit("somebody waits")
    away[0] = False
    await until_stored(db, 3)


async def until_stored(db: Database, count: int) -> None:
    async with asyncio.timeout(10):
        while await stored(db) != count:
            await asyncio.sleep(0.01)

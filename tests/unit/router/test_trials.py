"""What is kept of an adapter on trial is the same on both databases, and counted once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import MetaData, insert

from services.router.evidence import Comparison, FailureWatch
from services.router.store.routes import RouteDatabase
from services.router.store.shadows import Shadow, ShadowStore
from services.router.store.trials import Trials
from shared.events import Outbox
from shared.storage import Database
from tests import factories

NEW, OLD = "acme--support-triage@" + "b" * 12, "acme--support-triage@" + "a" * 12


@dataclass
class Store:
    db: Database
    routes: RouteDatabase
    trials: Trials

    async def answer(
        self, picked: str | None, at: float, failed: bool = False, told: bool = True
    ) -> str:
        name = factories.uuid7()
        row = {
            "inference_id": name,
            "tenant": "acme",
            "route": factories.ROUTE,
            "picked": picked,
            "failed": failed,
            "at": at,
            "event": "{}" if told else None,
        }
        async with self.db.transaction() as tx:
            await tx.execute(insert(self.routes.tables.decisions).values(row))
        return name

    async def judge(self, inference_id: str, verdict: str) -> None:
        async with self.db.transaction() as tx:
            event = factories.review(inference_id=inference_id, verdict=verdict, audit=True)
            await self.routes.add_outcome(tx, event)

    async def compared(self, old: str | None, promoted: float | None = None) -> Comparison:
        async with self.db.read() as connection:
            return await self.trials.comparison(
                connection, factories.ROUTE, NEW, old, 10.0, promoted
            )


@pytest.fixture
async def store(db: Database) -> Store:
    metadata = MetaData()
    routes = RouteDatabase(metadata, Outbox("router", metadata))
    await db.create_tables(metadata)
    return Store(db, routes, Trials(routes.tables))


@pytest.mark.parametrize("old", [OLD, None])
async def test_verdicts_are_paired_by_whom_the_request_was_given_to(
    store: Store, old: str | None
) -> None:
    await store.judge(await store.answer(old, at=5.0), "approved")
    await store.judge(await store.answer(old, at=11.0), "approved")
    await store.judge(await store.answer(NEW, at=12.0), "corrected")
    await store.judge(await store.answer(NEW, at=13.0), "rejected")
    await store.judge(factories.uuid7(), "approved")  # of an answer that was never given
    await store.answer(NEW, at=14.0)  # audited by nobody
    assert await store.compared(old) == Comparison(0, 1, pairs=1, single=1)
    # After the promotion what the old one answered before the canary stands in.
    assert await store.compared(old, promoted=4e9) == Comparison(0, 2, pairs=2, single=0)


async def test_a_verdict_said_twice_counts_once_and_the_last_one_holds(store: Store) -> None:
    await store.judge(await store.answer(OLD, at=11.0), "approved")
    name = await store.answer(NEW, at=12.0)
    await store.judge(name, "corrected")
    await store.judge(name, "approved")
    assert await store.compared(OLD) == Comparison(0, 0, pairs=1, single=0)


async def test_answers_are_counted_once_by_several_processes(store: Store) -> None:
    async with store.db.transaction() as tx:
        await store.trials.begin(tx, factories.ROUTE, NEW, 10.0)
        await store.trials.begin(tx, factories.ROUTE, NEW, 99.0)
    await store.answer(NEW, at=9.0, failed=True)  # in its canary
    await store.answer(NEW, at=11.0)
    await store.answer(NEW, at=12.0, failed=True)
    await store.answer(NEW, at=12.5, failed=True, told=False)
    await store.answer(NEW, at=13.0, told=False)  # its caller left soon
    async with store.db.transaction() as tx:
        old = await store.trials.find(tx, factories.ROUTE, NEW)
    assert old is not None and old.watch == FailureWatch()
    async with store.db.transaction() as tx:
        new = await store.trials.count(tx, factories.ROUTE, NEW, old, 20.0)
    assert (new.asked, new.failed, new.watch.looks) == (3, 2, 1)
    # Another process that read the same row counts nothing.
    async with store.db.transaction() as tx:
        assert await store.trials.count(tx, factories.ROUTE, NEW, old, 21.0) == old
        assert await store.trials.find(tx, factories.ROUTE, NEW) == new


async def test_a_look_of_a_clock_that_is_behind_counts_nothing_twice(store: Store) -> None:
    for at in (9.0, 10.5, 11.5):
        await store.answer(NEW, at=at)
    async with store.db.transaction() as tx:
        await store.trials.begin(tx, factories.ROUTE, NEW, 10.0)
    # Two processes look, the second with a clock that is behind; then both are past.
    for until, asked in ((9.5, 0), (11.0, 1), (8.0, 1), (10.2, 1), (12.0, 2)):
        async with store.db.transaction() as tx:
            old = await store.trials.find(tx, factories.ROUTE, NEW)
            assert old is not None
            new = await store.trials.count(tx, factories.ROUTE, NEW, old, until)
        assert new.asked == asked, until


async def test_answers_to_one_question_are_judged_by_the_right_one(store: Store) -> None:
    shadows = ShadowStore(store.db, store.routes.tables)
    for number, (new, old) in enumerate([("r", "w"), ("w", "r"), ("r", "r"), ("", "w")]):
        name = f"question-{number}"
        shadow = Shadow(name, factories.ROUTE, NEW, None, new, old, at=10.0 + number)
        await shadows.add(shadow)
        async with store.db.transaction() as tx:
            await shadows.judge(tx, name, "r")
    await shadows.add(Shadow("undecided", factories.ROUTE, NEW, None, "r", "w", at=15.0))
    for since, wins, losses, pairs in ((10.0, 1, 1, 4), (11.0, 0, 1, 3)):
        async with store.db.read() as connection:
            found = await shadows.comparison(connection, factories.ROUTE, NEW, None, since)
        assert found == Comparison(wins=wins, losses=losses, pairs=pairs)
    async with store.db.transaction() as tx:
        await shadows.forget(tx, "question-0")
        await shadows.judge(tx, "question-1", None)
        found = await shadows.comparison(tx, factories.ROUTE, NEW, None, 10.0)
        assert found == Comparison(pairs=3)
        assert await shadows.comparison(tx, factories.ROUTE, NEW, OLD, 10.0) == Comparison()

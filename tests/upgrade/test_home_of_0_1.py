"""A home that release 0.1.0 left behind is upgraded, goes on serving, and nothing of it is lost.

home-0.1.0.tar.xz holds six databases with rows pending in their outboxes, the embedded event log as
`kill -9` left it, artifacts, and the history of what clients were promised (make_home.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from infra.operations.books import open_books
from infra.operations.letters import Wanted, gather
from infra.operations.parked import dropping, parked_events, settle
from infra.operations.reconcile import reconcile
from tests import factories
from tests.faults.domain import check_everything
from tests.faults.drain import drain
from tests.faults.evidence import gather as gather_evidence
from tests.faults.evidence import query
from tests.faults.forking import Zygote
from tests.faults.history import History, Operation
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import EmbeddedBroker

POISON = ("feedback-recorded", "poison-1")
WORKING_SECONDS = 8.0


def promises_of(path: Path) -> list[Operation]:
    """Read what clients were told; the last line about an operation holds."""
    operations = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return list({(each["kind"], each["name"]): Operation(**each) for each in operations}.values())


async def unsent(world: World) -> int:
    counts = [
        (await query(url, "select count(*) as n from outbox where sent_at is null"))[0][0]["n"]
        for url in world.databases.values()
    ]
    return sum(counts)


def plant_unsendable(home: Path) -> str:
    """Put an event into capture's outbox that release 0.1.0 took and no log does: it waited for it
    for ever, and all that came after it with it.
    """
    with closing(sqlite3.connect(home / "capture.db")) as db, db:
        (first,) = db.execute("select min(seq) from outbox where sent_at is null").fetchone()
        db.execute(
            "update outbox set seq = seq + 1000000 where sent_at is null and seq >= ?", (first,)
        )
        event_id = "01932c5e-0000-7000-8000-00000000b1b1"
        db.execute(
            "insert into outbox (seq, id, aggregatetype, aggregateid, type, payload, headers,"
            " created_at) values (?, ?, 'inference-recorded', ?, 'InferenceRecorded', ?, '{}',"
            " '2026-11-25 12:00:00.000000')",
            (first, event_id, factories.ROUTE, os.urandom(1_500_000)),
        )
    return event_id


async def test_it_is_upgraded_and_goes_on_serving(home: Path) -> None:
    unsendable = plant_unsendable(home / "home")
    before = promises_of(home / "home" / "history.jsonl")
    broker = EmbeddedBroker(home / "broker")
    with broker, Zygote(home / "zygote.log") as zygote:
        async with World(home / "home", broker.servers, zygote) as world:
            for settings in world.own_settings.values():
                settings["artifacts_url"] = "file://home/artifacts"
            assert await unsent(world) > 20, "the home has nothing pending: make it anew"
            history = History()
            clients = Clients(world, history, seed=3, pause=0.2, first_turn=500_000)
            await world.start_all()
            await clients.begin()
            working = asyncio.create_task(clients.run())
            await asyncio.sleep(WORKING_SECONDS)
            clients.stopping = True
            await working
            async with open_books(world.databases) as books:
                parked = await parked_events(books)
                assert [event.event_id for event in parked] == [unsendable]
                await settle(books, parked, dropping("no log takes it"))
            assert not await drain(world)
            operations = [*before, *history]
            evidence = await gather_evidence(world.databases, broker.servers, operations, {POISON})
            async with open_books(world.databases) as books:
                balance = await reconcile(books, broker.servers)
                letters = await gather(books, Wanted(state="open"))
            served = await world.call("router", f"/v1/routes/{factories.ROUTE}")
    verdict = check_everything(evidence)
    assert verdict.holds, verdict.explain()
    assert balance.holds
    assert {(letter.service, letter.event_id, letter.body) for letter in letters} == {
        (service, POISON[1], b'{"no": "event"}')
        for service in ("review", "dataset-builder", "evaluator")
    }
    assert served.json()["champion"] is not None, "the adapter that served before serves again"
    accepted = [each for each in history if each.outcome == "ok"]
    assert len(accepted) > 20

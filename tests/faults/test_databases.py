"""Row 10: connections to Postgres cut in the middle of transactions, Postgres away, SQLite locked
by somebody else, the pool exhausted.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable

import pytest

from schemas.topics import SERVICES
from tests.faults.proxy import Proxy
from tests.faults.scenario import run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker
from tests.postgres import PostgresServer

NewWorld = Callable[..., World]
LONGER_THAN_SQLITE_WAITS = 12.0  # seconds; its busy_timeout is 10


def through(world: World, proxy: Proxy) -> None:
    """The services reach their databases through the proxy, the checker does not."""
    for service, url in world.databases.items():
        world.own_settings[service]["database_url"] = url.replace(
            f":{proxy.target[1]}/", f":{proxy.port}/"
        )


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_connections_cut_in_the_middle(
    embedded: Broker, new_world: NewWorld, postgres_server: PostgresServer
) -> None:
    """Slow answers make transactions long, so that most cuts hit one; then Postgres is away for a
    while, as in a failover.
    """
    rng = random.Random(seed_of_this_run(18))
    cut = []

    async def during(_: Clients) -> None:
        proxy.delay = 0.004
        for _ in range(25):
            await asyncio.sleep(rng.uniform(0.1, 0.8))
            cut.append(proxy.cut())
        proxy.delay = 0.0
        proxy.refusing = True
        proxy.cut()
        await asyncio.sleep(5)
        proxy.refusing = False
        await asyncio.sleep(4)

    async with (
        Proxy("127.0.0.1", postgres_server.port) as proxy,
        new_world(embedded.servers, postgres_server) as world,
    ):
        through(world, proxy)
        outcome = await run_scenario(world, seed_of_this_run(18), during, patience=150)
    outcome.must_hold()
    assert sum(cut) > 25, cut
    print(f"{sum(cut)} connections to Postgres were cut")


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_postgres_that_does_not_answer(
    embedded: Broker, new_world: NewWorld, postgres_server: PostgresServer
) -> None:
    """Half-open: what waits for an answer waits, and what was committed meanwhile is found out
    afterwards.
    """

    async def during(_: Clients) -> None:
        await asyncio.sleep(2)
        proxy.silent = True
        await asyncio.sleep(10)
        proxy.cut()
        proxy.silent = False
        await asyncio.sleep(4)

    async with (
        Proxy("127.0.0.1", postgres_server.port) as proxy,
        new_world(embedded.servers, postgres_server) as world,
    ):
        through(world, proxy)
        outcome = await run_scenario(world, seed_of_this_run(19), during, patience=150)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_sqlite_that_somebody_else_locks(embedded: Broker, new_world: NewWorld) -> None:
    """A backup, a shell: the write lock is held for longer than SQLite waits for it."""

    def hold(service: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            world.folder / f"{service}.db",
            isolation_level=None,
            timeout=30,
            check_same_thread=False,
        )
        connection.execute("begin immediate")
        return connection

    async def during(_: Clients) -> None:
        await asyncio.sleep(2)
        holders = await asyncio.gather(*(asyncio.to_thread(hold, service) for service in SERVICES))
        await asyncio.sleep(LONGER_THAN_SQLITE_WAITS)
        for holder in holders:
            holder.close()
        await asyncio.sleep(4)

    async with new_world(embedded.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(20), during, patience=120)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_more_requests_than_connections(
    embedded: Broker, new_world: NewWorld, postgres_server: PostgresServer
) -> None:
    """200 requests at once on a pool of 15 connections, each answered or told to come again, and
    none of them in halves.
    """
    answers: list[int] = []

    async def during(clients: Clients) -> None:
        proxy.delay = 0.01
        await asyncio.gather(*(captured(clients, number) for number in range(200)))
        proxy.delay = 0.0

    async def captured(clients: Clients, number: int) -> None:
        await clients._captured(
            [{"client_id": f"at-once-{number}", "input": f"question {number}"}], "inference"
        )
        answers.append(number)

    async with (
        Proxy("127.0.0.1", postgres_server.port) as proxy,
        new_world(embedded.servers, postgres_server) as world,
    ):
        through(world, proxy)
        outcome = await run_scenario(world, seed_of_this_run(21), during, patience=90)
    outcome.must_hold()
    assert len(answers) == 200

"""Rows 2, 4 and 9: processes that are told to stop, that are stopped and wake up as zombies, that
come and go.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import SERVICES
from tests.faults.evidence import query
from tests.faults.life import Armed
from tests.faults.replicas import Replica
from tests.faults.scenario import Outcome, run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
CONSUMERS = ("review", "dataset-builder", "evaluator", "trainer")
RELAY_LEASE = {"shared.events.relay.LEASE_SECONDS": 2.0, "shared.events.relay.RENEW_SECONDS": 0.5}
SHORT: dict[str, Any] = {"job_lease": 2.0, "session": 6.0, "constants": RELAY_LEASE}
STOPPED_IN_ORDER = -signal.SIGTERM  # uvicorn shuts down, then raises the signal again
LONGER_THAN_LEASES = 6.0  # seconds; stands for the 60 s of the matrix against leases of 15 s


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_rolling_restart_under_load(embedded: Broker, new_world: NewWorld) -> None:
    """SIGTERM to each service in turn while clients work; it finishes what it began and its
    successor goes on.
    """
    world = new_world(embedded.servers)
    statuses = {}

    async def during(_: Clients) -> None:
        for service in SERVICES:
            statuses[service] = await asyncio.wait_for(world.stop(service, signal.SIGTERM), 45)
            world.start(service)
            await world.until_ready(service)

    async with world:
        outcome = await run_scenario(world, seed_of_this_run(5), during)
    outcome.must_hold()
    assert statuses == dict.fromkeys(SERVICES, STOPPED_IN_ORDER), statuses


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_a_rolling_restart_of_two_replicas_each(apache: Broker, new_world: NewWorld) -> None:
    world = new_world(apache.servers)

    async def during(_: Clients) -> None:
        second = {service: Replica(world, service, 2).start() for service in CONSUMERS}
        for replica in second.values():
            await replica.until_consuming()
        for service in CONSUMERS:
            await asyncio.wait_for(world.stop(service, signal.SIGTERM), 45)
            world.start(service)
            await world.until_ready(service)
            assert await second[service].stop() == STOPPED_IN_ORDER
            second[service].start()
            await second[service].until_consuming()
        for replica in second.values():
            assert await replica.stop() == STOPPED_IN_ORDER

    async with world:
        outcome = await run_scenario(world, seed_of_this_run(6), during, patience=120)
    outcome.must_hold()


async def zombie_worker(world: World, switches: tuple[str, ...] = ()) -> Outcome:
    """A trainer stops in the middle of a job, another takes the job over and finishes it, then the
    first one wakes up.
    """
    world.options = SHORT | {"switches": switches, "training_seconds": 5.0}

    async def during(_: Clients) -> None:
        job_id = await until_a_job(world, "state = 'running'")
        await stop_between_writes(world, "trainer")
        heir = Replica(world, "trainer", 2).start()
        assert await until_a_job(world, f"job_id = '{job_id}' and state = 'finished'") == job_id
        world.zygote.signal(world.pids["trainer"], signal.SIGCONT)
        await asyncio.sleep(8)
        assert await heir.stop() == STOPPED_IN_ORDER

    async with world:
        return await run_scenario(world, seed_of_this_run(7), during, patience=150)


async def stop_between_writes(world: World, service: str) -> None:
    """On SQLite one that is stopped inside a write stops the others with it; that is not the
    question here.
    """
    while True:
        world.zygote.signal(world.pids[service], signal.SIGSTOP)
        if await asyncio.to_thread(can_write, world.folder / f"{service}.db"):
            return
        world.zygote.signal(world.pids[service], signal.SIGCONT)
        await asyncio.sleep(0.1)


def can_write(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=1.0)) as connection:
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError:
            return False
        connection.rollback()
    return True


async def until_a_job(world: World, such: str) -> str:
    """A job of the trainer, as soon as there is one like that."""
    async with asyncio.timeout(90):
        while True:
            (found,) = await query(
                world.databases["trainer"], f"select job_id from jobs where {such}"
            )
            if found:
                return found[0]["job_id"]
            await asyncio.sleep(0.1)


@pytest.mark.faults
async def test_a_worker_that_wakes_up_cannot_publish(apache: Broker, new_world: NewWorld) -> None:
    outcome = await zombie_worker(new_world(apache.servers))
    outcome.must_hold()
    assert outcome.verdict.numbers["adapter-trained"] > 0, outcome.explain()


@pytest.mark.faults
async def test_without_its_fencing_token_it_publishes_twice(
    apache: Broker, new_world: NewWorld
) -> None:
    outcome = await zombie_worker(new_world(apache.servers), ("no-fence",))
    assert outcome.verdict.count("doubled") > 0, outcome.explain()


@pytest.mark.faults
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "point",
    ["handler.before-commit", "handler.after-commit", "relay.before-send", "relay.after-send"],
)
async def test_a_stopped_consumer_or_relay_wakes_up(
    apache: Broker, new_world: NewWorld, point: str
) -> None:
    """Its partitions and its lease go to another replica meanwhile; what it does afterwards has no
    effect of its own.
    """
    world = new_world(apache.servers)
    world.options = SHORT

    async def during(_: Clients) -> None:
        # The heir of a relay comes later: it keeps the lease, once it has it.
        heir = Replica(world, "review", 2)
        if not point.startswith("relay"):
            await heir.start().until_consuming()
        await world.stop("review", signal.SIGKILL)
        zombie = world.start("review", armed=(Armed(point, "stop", nth=3),))
        async with asyncio.timeout(90):
            while zombie not in world.zygote.stopped:
                await asyncio.sleep(0.05)
        if point.startswith("relay"):
            await heir.start().until_consuming()
        await asyncio.sleep(LONGER_THAN_LEASES * 2)
        world.zygote.signal(zombie, signal.SIGCONT)
        await asyncio.sleep(5)
        assert await heir.stop() == STOPPED_IN_ORDER

    async with world:
        outcome = await run_scenario(world, seed_of_this_run(8), during, patience=150)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_replicas_that_come_and_go(apache: Broker, new_world: NewWorld) -> None:
    """Row 9: a second consumer of each service joins and leaves (half of them by SIGKILL) every few
    seconds.
    """
    world = new_world(apache.servers)
    rng = random.Random(seed_of_this_run(9))

    async def visit(service: str) -> None:
        replica = Replica(world, service, 2)
        for _ in range(6):
            replica.start()
            await asyncio.sleep(rng.uniform(1, 5))
            await replica.stop(rng.choice((signal.SIGTERM, signal.SIGKILL)))
        replica.start()
        await replica.until_consuming()
        assert await replica.stop() == STOPPED_IN_ORDER

    async def during(_: Clients) -> None:
        await asyncio.gather(*(visit(service) for service in CONSUMERS))

    async with world:
        outcome = await run_scenario(world, seed_of_this_run(9), during, patience=150)
    outcome.must_hold()

"""Row 12: clocks that are an hour wrong, each in its own direction, and that jump when a service
starts again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from schemas.topics import SERVICES
from tests.faults.scenario import run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
HOUR = 3600.0
WRONG = {
    "capture": HOUR,
    "review": -HOUR,
    "dataset-builder": HOUR,
    "trainer": -HOUR,
    "evaluator": HOUR,
    "router": -HOUR,
}


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_clocks_an_hour_wrong_that_jump(embedded: Broker, new_world: NewWorld) -> None:
    """Leases go by the database's clock and order by commits: no clock of a service decides what
    happens once.
    """
    world = new_world(embedded.servers)

    async def during(_: Clients) -> None:
        for sign in (1, -1):
            for service in SERVICES:
                await world.stop(service, signal.SIGKILL)
                world.start(service, clock=sign * WRONG[service])
            await world.until_ready(*SERVICES)
            await asyncio.sleep(6)
        await world.until_published("trainer", "adapter-trained")

    async with world:
        outcome = await run_scenario(world, seed_of_this_run(16), during, patience=90)
    outcome.must_hold()
    assert outcome.verdict.numbers["adapter-trained"] > 0, outcome.explain()

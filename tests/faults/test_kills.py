"""Row 1: kill -9 at every step of every service, all services at once, under load; then nothing is
lost and nothing happened twice.

`make test` runs a short part with a fixed seed; `make test-faults` runs FAULT_KILLS (1,000) on each
kind of event log and database.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults.killer import Killer, Toll
from tests.faults.scenario import Outcome, report, run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker

SHORT_KILLS = 24
LONG_KILLS = int(os.environ.get("FAULT_KILLS", "1000"))


# seconds, not 15: what was killed in the middle of a job is tried again while the kills go on
JOB_LEASE = 2.0


async def killed(world: World, seed: int, kills: int, pause: float) -> Outcome:
    world.options = {"job_lease": JOB_LEASE}

    async def during(clients: Clients) -> Toll:
        killer = Killer(world, seed, kills)
        await killer.run()
        return killer.toll

    async with world:
        return await run_scenario(world, seed, during, pause=pause, patience=120)


@pytest.mark.timeout(240)
async def test_some_kills(embedded: Broker, new_world: Callable[..., World]) -> None:
    outcome = await killed(new_world(embedded.servers), seed_of_this_run(4), SHORT_KILLS, pause=0.1)
    outcome.must_hold()
    assert outcome.toll.total >= SHORT_KILLS
    assert outcome.verdict.numbers["effects"] > 100, outcome.explain()


@pytest.mark.faults
@pytest.mark.timeout(LONG_KILLS * 4 + 600)
@pytest.mark.parametrize(
    ("broker", "database"), [("embedded", "sqlite"), ("apache", "postgres")], indirect=["broker"]
)
async def test_a_thousand_kills(
    broker: Broker, database: str, new_world: Callable[..., World], request: pytest.FixtureRequest
) -> None:
    postgres = request.getfixturevalue("postgres_server") if database == "postgres" else None
    outcome = await killed(
        new_world(broker.servers, postgres), seed_of_this_run(), LONG_KILLS, pause=0.05
    )
    report(f"kills-{type(broker).__name__}-{database}", outcome)
    outcome.must_hold()
    assert outcome.toll.total >= LONG_KILLS
    # Otherwise they died before they did anything, and nothing was proved.
    assert outcome.toll.at_points >= LONG_KILLS / 4
    assert not outcome.toll.early, outcome.toll.early

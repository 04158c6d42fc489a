"""Three real Kafka nodes, replication factor 3, two in sync to accept: one is killed under load,
then each in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.scenario import report, run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import ThreeNodes, apache_missing

NewWorld = Callable[..., World]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[ThreeNodes]:
    if reason := apache_missing():
        pytest.skip(reason)
    with ThreeNodes(tmp_path / "kafka") as nodes:
        yield nodes


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_one_of_three_nodes_is_killed(nodes: ThreeNodes, new_world: NewWorld) -> None:
    """It stays away: the other two have everything that was acknowledged, and consumers go on
    without hands.
    """

    async def during(_: Clients) -> None:
        await asyncio.sleep(6)
        await asyncio.to_thread(nodes.kill, 0)
        await asyncio.sleep(25)

    async with new_world(nodes.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(26), during, patience=180)
    report("three-nodes-one-killed", outcome)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_each_of_three_nodes_is_killed_in_turn(
    nodes: ThreeNodes, new_world: NewWorld
) -> None:
    async def during(_: Clients) -> None:
        for node in range(3):
            await asyncio.sleep(5)
            await asyncio.to_thread(nodes.kill, node)
            await asyncio.sleep(12)
            nodes.start(node)
            await asyncio.sleep(15)  # it catches up before the next one goes

    async with new_world(nodes.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(27), during, patience=240)
    report("three-nodes-each-killed", outcome)
    outcome.must_hold()

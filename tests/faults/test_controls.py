"""Negative controls: with one guard switched off the checker must report the loss, or the double,
that the guard prevents.

Each does to the system exactly what a test that must hold does to it, with the guard in place.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from schemas.topics import SERVICES
from tests.faults.life import Armed
from tests.faults.scenario import Outcome, run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
KILLED_AFTER_COMMIT = ("review", "evaluator", "dataset-builder")


async def killed_before_acknowledging(world: World, switches: tuple[str, ...]) -> Outcome:
    """Consumers die between the commit of an effect and the commit of its offset: the event comes
    again.
    """
    world.options = {"switches": switches}

    async def during(_: Clients) -> None:
        for service in KILLED_AFTER_COMMIT:
            await asyncio.sleep(1)
            await world.stop(service, signal.SIGKILL)
            pid = world.start(service, armed=(Armed("handler.after-commit", nth=3),))
            await asyncio.wait_for(world.zygote.end_of(pid), 120)
            world.start(service)
        await world.until_ready(*SERVICES)

    async with world:
        return await run_scenario(world, seed_of_this_run(1), during)


async def killed_while_sending(world: World, switches: tuple[str, ...]) -> Outcome:
    """Producers die after the relay marked a batch as sent."""
    world.options = {"switches": switches}

    async def during(_: Clients) -> None:
        for service in ("capture", "router"):
            await asyncio.sleep(1)
            await world.stop(service, signal.SIGKILL)
            pid = world.start(service, armed=(Armed("relay.after-mark", nth=3),))
            await asyncio.wait_for(world.zygote.end_of(pid), 120)
            world.start(service)
        await world.until_ready(*SERVICES)

    async with world:
        return await run_scenario(
            world, seed_of_this_run(2), during, patience=10 if switches else 180
        )


async def log_lost(world: World, broker: Broker, switches: tuple[str, ...]) -> Outcome:
    """The event log is killed in the middle of the work and comes back empty."""
    world.options = {"switches": switches}

    async def during(_: Clients) -> None:
        await asyncio.sleep(3)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.start)
        await asyncio.sleep(3)

    async with world:
        return await run_scenario(
            world, seed_of_this_run(3), during, patience=20 if switches else 180
        )


@pytest.mark.faults
async def test_without_the_inbox_effects_are_doubled(embedded: Broker, new_world: NewWorld) -> None:
    outcome = await killed_before_acknowledging(new_world(embedded.servers), ("no-inbox",))
    assert outcome.verdict.count("doubled") > 0, outcome.explain()


@pytest.mark.faults
async def test_with_the_inbox_they_are_not(embedded: Broker, new_world: NewWorld) -> None:
    (await killed_before_acknowledging(new_world(embedded.servers), ())).must_hold()


@pytest.mark.faults
async def test_a_relay_that_does_not_wait_for_the_log_loses_events(
    embedded: Broker, new_world: NewWorld
) -> None:
    outcome = await killed_while_sending(new_world(embedded.servers), ("no-acknowledgement",))
    assert outcome.verdict.count("lost") > 0, outcome.explain()


@pytest.mark.faults
async def test_one_that_waits_does_not(embedded: Broker, new_world: NewWorld) -> None:
    (await killed_while_sending(new_world(embedded.servers), ())).must_hold()


@pytest.mark.faults
async def test_without_an_outbox_what_was_accepted_is_lost(
    embedded: Broker, new_world: NewWorld
) -> None:
    outcome = await killed_while_sending(new_world(embedded.servers), ("no-outbox",))
    assert outcome.verdict.count("lost") > 0, outcome.explain()


@pytest.mark.faults
async def test_without_sending_again_a_lost_log_loses_events(
    embedded: Broker, new_world: NewWorld
) -> None:
    outcome = await log_lost(new_world(embedded.servers), embedded, ("no-resend",))
    assert outcome.verdict.count("lost") > 0, outcome.explain()


@pytest.mark.faults
async def test_a_log_that_lost_everything_is_filled_again(
    embedded: Broker, new_world: NewWorld
) -> None:
    """Row 3 on the embedded event log, which keeps events in memory: a part of `make test`."""
    (await log_lost(new_world(embedded.servers), embedded, ())).must_hold()

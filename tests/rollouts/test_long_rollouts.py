"""What takes thousands of verdicts, or a router that is killed while it counts them."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable

import pytest

from tests.faults.evidence import query
from tests.faults.world import World
from tests.kafka import Broker
from tests.rollouts.cast import Part, Role, steady
from tests.rollouts.stages import running
from tests.rollouts.story import AT_A_TIME, FOR_A_DATASET, PATIENCE, Story

NewWorld = Callable[..., World]

pytestmark = pytest.mark.faults

# As docs/methods.md has it, a median of 980 verdicts finds five points of 15 % wrong.
BEFORE = 2000
MOST = 2500
KILLS = 3


async def two_versions(story: Story, before: int) -> tuple[str, str]:
    """Have two adapters promoted, with so many questions to the first one; return their ids."""
    await story.begin()
    await story.ask(FOR_A_DATASET)
    first = await story.promoted(await story.trained("the first version"))
    await story.ask(before)
    return first, await story.promoted(await story.trained("the second version"))


async def five_points_worse(story: Story) -> None:
    first, second = await two_versions(story, BEFORE)

    async def gone() -> bool:
        return await story.champion() != second

    await story.asked_until(gone, MOST)
    assert await story.champion() == first
    version = (await story.shown())["version"]
    move = (await story.until(story.moves, lambda moves: len(moves) == version))[-1]
    print(move["because"])
    assert "wrong more often than what it replaced" in move["because"]
    assert move["evidence"]["against_correctness"] >= 40


async def as_good(story: Story) -> None:
    _, second = await two_versions(story, BEFORE)
    await story.ask(MOST)
    assert await story.champion() == second
    shown = (await story.shown())["probation"]
    print(shown)
    assert shown["pairs"] > 1000
    assert shown["against_correctness"] < 20


@pytest.mark.timeout(1800)
async def test_five_points_in_service_are_found(embedded: Broker, new_world: NewWorld) -> None:
    good = Part()
    roles = {
        "worse": (steady(2), Role(good, Part(wrong=3))),
        "even": (steady(2), Role(good, Part(wrong=2))),
    }
    async with running(new_world(embedded.servers), roles) as stages:
        worse, even = stages.story("worse"), stages.story("even")
        async with asyncio.TaskGroup() as group:
            group.create_task(five_points_worse(worse))
            group.create_task(as_good(even))
        for story in (worse, even):
            await story.was_left_alone()


@pytest.mark.timeout(900)
async def test_on_the_same_questions_five_points_are_found_sooner(
    embedded: Broker, new_world: NewWorld
) -> None:
    """Of those that are wrong in the same answers as others, one that is wrong in more goes, and
    one that is not stays: nine hundred verdicts found it by the order of arrival.
    """
    alike, worse = Part(wrong=2, alike=True), Part(wrong=3, alike=True)
    roles = {
        "worse": (Role(alike, alike), Role(Part(), worse)),
        "even": (Role(alike, alike), Role(Part(), alike)),
    }
    async with running(new_world(embedded.servers), roles) as stages:
        stories = [Story(stages.world, stages.client, name, shadow=1.0) for name in roles]
        (first, second), (_, good) = await asyncio.gather(
            *(two_versions(story, before=20) for story in stories)
        )

        async def gone() -> bool:
            return await stories[0].champion() != second

        await asyncio.gather(stories[0].asked_until(gone, 480), stories[1].ask(400))
        assert await stories[0].champion() == first
        assert await stories[1].champion() == good
        [move] = [m for m in await stories[0].moves() if "rolled back" in m["because"]]
        print(move["because"], move["evidence"])
        assert move["evidence"]["against_correctness_beside"] >= 80
        shown = (await stories[1].shown())["probation"]
        print(shown)
        assert shown["pairs_beside"] > 200
        assert shown["losses_beside"] == 0
        for story in stories:
            await story.was_left_alone()


async def counted(story: Story, adapter_id: str, since: float) -> tuple[int, int, int]:
    """Return the answers of a champion that its trial has counted, those that were given meanwhile,
    and the verdicts on it.
    """
    trials, given, verdicts = await query(
        story.world.databases["router"],
        f"select asked from trials where adapter_id = '{adapter_id}'",
        "select count(*) as n from decisions, trials where decisions.picked = trials.adapter_id and"
        f" trials.adapter_id = '{adapter_id}' and decisions.at <= trials.counted_to and"
        f" decisions.at > {since!r} and (decisions.event is not null or decisions.failed)",
        "select count(*) as n from outcomes join decisions on decisions.inference_id ="
        f" outcomes.inference_id where decisions.picked = '{adapter_id}'",
    )
    return trials[0]["asked"], given[0]["n"], verdicts[0]["n"]


@pytest.mark.timeout(900)
async def test_a_killed_router_goes_on_where_it_was(embedded: Broker, new_world: NewWorld) -> None:
    """Kill -9 in the middle of probation: evidence is counted once, and ends as it would have."""
    world = new_world(embedded.servers)
    roles = {"worse": (steady(2), Role(Part(), Part(wrong=5)))}
    rng = random.Random(5)
    async with running(world, roles) as stages:
        story = stages.story("worse")
        first, second = await two_versions(story, before=320)

        async def gone() -> bool:
            return await story.champion() != second

        kept = 0
        for _ in range(KILLS):
            asking = asyncio.create_task(story.ask(AT_A_TIME // 2))
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            await world.stop("router", signal.SIGKILL)
            world.start("router")
            await world.until_ready("router")
            await asking
            await proven(story, await story.champion())
            await asyncio.sleep(2)
            probation = (await story.shown())["probation"]
            # By chance so few verdicts may be enough: once 16 of 19 unequal pairs were lost.
            if await gone():
                break
            asked, given, verdicts = await counted(story, second, probation["since"])
            assert asked == given > 0
            assert probation["pairs"] == verdicts > 0
            kept += 1
        assert kept
        story.refused.clear()

        await story.asked_until(gone, 440)
        assert await story.champion() == first
        await story.was_left_alone()


async def proven(story: Story, adapter_id: str) -> None:
    """Wait until a router that has started has its champion loaded again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ready = (await story.call("router", "/health/ready")).json()
            if adapter_id in ready.get("adapters_proven", ()):
                return
            await asyncio.sleep(0.2)

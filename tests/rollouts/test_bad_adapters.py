"""Adapters that are at fault, in the six real services: the gate refuses them, the canary stops
them, or they are rolled back. Nobody does anything by hand, and no request fails.

The first version of each route is good: on the same route, by the same reviewers, it is promoted
and serves. And a second one that is no worse stays for as long as a worse one has to go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.world import World
from tests.kafka import Broker
from tests.rollouts.cast import Part, Role, steady
from tests.rollouts.stages import running
from tests.rollouts.story import FOR_A_DATASET, Story

NewWorld = Callable[..., World]

# Wrong in two of twenty answers, in the evaluation as in service.
FIRST = steady(2)
GOOD = Part()
# Questions to the first version: with four fifths of the verdicts a second one is compared.
BEFORE = 180
# Questions until a bad adapter has gone: at 20 points some 97 pairs are needed.
MOST = 240
# Answers after which one breaks that was good in its canary.
GOOD_ANSWERS = 40


async def first_version(story: Story, answers: int) -> str:
    """Have a good adapter trained, proven and promoted; return its id."""
    await story.begin()
    await story.ask(FOR_A_DATASET)
    adapter_id = await story.promoted(await story.trained("the first version"))
    await story.ask(answers)
    return adapter_id


async def refused(story: Story, why: str) -> None:
    """See the gate refuse the next version and say why; it never gets a canary."""
    champion, moves = await story.champion(), len(await story.moves())
    await story.ask(10)
    evaluation = await story.trained(f"one that is refused: {why}")
    assert evaluation["verdict"] == "reject", evaluation["reasons"]
    assert any(why in reason for reason in evaluation["reasons"]), evaluation["reasons"]
    assert await story.champion() == champion
    assert len(await story.moves()) == moves


async def stopped(story: Story) -> dict[str, Any]:
    """See the canary stop the next version, and return the move."""
    champion, moves = await story.champion(), len(await story.moves())
    await story.ask(10)
    evaluation = await story.trained("one that is stopped")
    assert evaluation["verdict"] == "promote", evaluation["reasons"]

    async def over() -> bool:
        return len(await story.moves()) == moves + 2

    await story.asked_until(over, MOST)
    assert await story.champion() == champion
    return (await story.moves())[-1]


async def rolled_back(story: Story) -> dict[str, Any]:
    """See the next version promoted and rolled back, and return the move."""
    champion = await story.champion()
    await story.ask(10)
    adapter_id = await story.promoted(await story.trained("one that is rolled back"))

    async def gone() -> bool:
        return await story.champion() != adapter_id

    await story.asked_until(gone, MOST)
    shown = await story.shown()
    assert shown["champion"]["adapter_id"] == champion
    assert shown["frozen_until"] > 0
    moves = await story.until(story.moves, lambda moves: len(moves) == shown["version"])
    return dict(moves[-1])


async def many_are_bad(story: Story) -> None:
    await first_version(story, 10)
    await refused(story, "no answer to 3 questions in a row")
    await refused(story, "fraud")
    await refused(story, "format")
    for _ in ("hangs", "malformed"):
        move = await stopped(story)
        assert "canary stopped" in move["because"]
        assert "failed or broke the format" in move["because"]
        assert move["evidence"]["against_failures"] >= 20
    move = await rolled_back(story)
    assert "failed or broke the format" in move["because"]
    assert move["evidence"]["against_failures"] >= 40


async def one_is_worse(story: Story) -> None:
    await first_version(story, BEFORE)
    move = await rolled_back(story)
    assert "wrong more often than what it replaced" in move["because"]
    assert move["evidence"]["against_correctness"] >= 40
    assert move["evidence"]["losses"] > move["evidence"]["wins"]


async def one_is_as_good(story: Story) -> None:
    """See it stay where one that is worse has to go."""
    await first_version(story, BEFORE)
    adapter_id = await story.promoted(await story.trained("one that is as good"))
    await story.ask(MOST)
    assert await story.champion() == adapter_id
    probation = (await story.shown())["probation"]
    assert probation["pairs"] > 100
    assert probation["against_correctness"] < 20


MANY = (
    FIRST,
    Role(Part(hangs_after=0), Part(hangs_after=0)),
    Role(Part(never="fraud"), Part(never="fraud")),
    Role(Part(half_malformed=True), Part(half_malformed=True)),
    # It answers its probe.
    Role(GOOD, Part(hangs_after=1)),
    Role(GOOD, Part(half_malformed=True)),
    Role(GOOD, Part(hangs_after=GOOD_ANSWERS)),
)
WORSE = Role(GOOD, Part(wrong=6))
AS_GOOD = Role(GOOD, Part(wrong=2))


@pytest.mark.timeout(1200)
async def test_bad_adapters_go_and_good_ones_stay(embedded: Broker, new_world: NewWorld) -> None:
    told = {"many": many_are_bad, "worse": one_is_worse, "even": one_is_as_good}
    roles = {"many": MANY, "worse": (FIRST, WORSE), "even": (FIRST, AS_GOOD)}
    async with running(new_world(embedded.servers), roles) as stages:
        stories = {name: stages.story(name) for name in told}
        async with asyncio.TaskGroup() as group:
            for name, tell in told.items():
                group.create_task(tell(stories[name]), name=name)
        for story in stories.values():
            await story.was_left_alone()

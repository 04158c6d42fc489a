"""The base model behind an adapter gets the hard questions, and is trusted with them only where it
was proven on them, in the six real services.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infra.demo.risk import Kept
from tests.faults.world import World
from tests.kafka import Broker
from tests.rollouts.cast import Graded, Role
from tests.rollouts.stages import running

NewWorld = Callable[..., World]

pytestmark = pytest.mark.faults

RISK = 0.2
# Four fifths of them are audited; of the five or eight hard ones in twenty enough are left to
# certify.
BEFORE = 240
LIVE = 400
# Of twenty questions, the hardest first.
ALL = frozenset(range(20))


def graded(errs_at: set[int], unsure_at: set[int]) -> Graded:
    return Graded(errs_at=frozenset(errs_at), sure_at=ALL - unsure_at)


async def lived(world: World, adapter: Graded, base: Graded) -> list[dict[str, Any]]:
    """Have the adapter promoted, and return what apps got afterwards."""
    async with running(world, {"route": (Role(adapter, adapter),)}, base) as stages:
        story = stages.story("route", max_risk=RISK)
        await story.begin()
        await story.ask(BEFORE)
        await story.promoted(await story.trained("the first version"))
        answers = await story.ask(LIVE)
        await story.was_left_alone()
    return answers


def kept(answers: list[dict[str, Any]], outcome: str) -> Kept:
    """Count the answers of an outcome, and those among them that were wrong."""
    right = [answer["right"] for answer in answers if answer["outcome"] == outcome]
    found = Kept(outcome, right.count(False), len(right))
    print(outcome, found.wrong, found.trusted)
    return found


@pytest.mark.timeout(300)
async def test_a_base_model_proven_on_hard_questions_is_trusted_with_them(
    embedded: Broker, new_world: NewWorld
) -> None:
    """The adapter is unsure of eight in twenty. Of these the base model is sure of six, and right;
    of what the adapter knows it knows little.
    """
    adapter = graded(errs_at={0, 2, 4, 6, 9}, unsure_at=set(range(8)))
    base = graded(errs_at={6, *range(10, 20)}, unsure_at={6, 7, *range(8, 20)})
    answers = await lived(new_world(embedded.servers), adapter, base)
    assert all(answer["certified"] for answer in answers if answer["outcome"] != "unsure")
    for outcome, least in (("confident", 200), ("fell_back", 100)):
        found = kept(answers, outcome)
        assert found.trusted >= least
        assert found.wrong <= RISK * found.trusted


@pytest.mark.timeout(300)
async def test_a_base_model_proven_on_easy_questions_is_not_trusted_with_hard_ones(
    embedded: Broker, new_world: NewWorld
) -> None:
    """Of its sure answers 2 in 15 are wrong, and of those that reach it 2 in 5: trusted by what it
    shows on all questions, it would break its promise.
    """
    adapter = graded(errs_at={1, 2, 3, 4}, unsure_at=set(range(5)))
    base = graded(errs_at={0, 1, *range(15, 20)}, unsure_at=set(range(15, 20)))
    answers = await lived(new_world(embedded.servers), adapter, base)
    assert kept(answers, "confident").trusted >= 250
    assert not any(answer["outcome"] == "fell_back" for answer in answers)
    unsure = kept(answers, "unsure")
    assert unsure.breaks(RISK)

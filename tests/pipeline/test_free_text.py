"""A route of free text, from its first answer to an adapter that people chose: through the services
as they run.
"""

from __future__ import annotations

import asyncio
import random
import time

import pytest

import services.evaluator.contests as evaluator_contests
from services.evaluator.contests import Contests
from tests import factories
from tests.pipeline.test_story import MESSAGES, World, world  # noqa: F401 - a fixture

BASE = "password"
# Of 80 answers of which three in four are audited, fewer than the 45 that are needed are so once
# in 10,000 runs.
TEXTS = [text for texts in MESSAGES.values() for text in texts[:40]]


async def trained(world: World, **rules: object) -> None:  # noqa: F811
    """Ask, review and train, until people are asked about an adapter."""
    spec = factories.spec(
        task="summarisation",
        labels=(),
        label_descriptions={},
        detailed_prompt="Say in one word what it is about.",
        guarantee="strict",
        review={"rate": 1.0, "audit_rate": 0.75},
        minimum_rows=4,
        minimum_per_label=None,
        retrain={"min_new_verdicts": 1000},
        **rules,
    )
    await world.call("router", "/v1/routes", spec.model_dump(mode="json"))
    answers = [await world.ask(text) for text in TEXTS]
    assert all(answer["ratchet"]["provisional"] for answer in answers)
    async with asyncio.timeout(180):
        reviewed = 0
        while reviewed < len(answers):
            reviewed += await world.review_everything()
        while len(world.log.events("review-completed")) < len(answers):
            await asyncio.sleep(0.05)
    body = {"reason": "enough to learn from"}
    await world.call("dataset-builder", f"/v1/routes/{factories.ROUTE}/datasets", body)
    await world.event("comparison-requested")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the evaluator has looked at what people judged: it does so by itself, and often here."""
    ended: list[float] = []
    look = Contests.look

    async def noted(contests: Contests) -> None:
        await look(contests)
        ended.append(time.monotonic())

    monkeypatch.setattr(evaluator_contests, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(Contests, "look", noted)
    return ended


async def people(world: World, rate: float, looks: list[float]) -> int:  # noqa: F811
    """Judge until nobody is asked any more; the adapter's answer is better at a rate."""
    rng = random.Random(3)
    judged = 0
    async with asyncio.timeout(270):
        while not world.log.events("adapter-evaluated"):
            taken = await world.call("review", "/v1/comparisons/next")
            if taken.status_code == 204:
                await asyncio.sleep(0.1)
                continue
            pair = taken.json()
            ours = "right" if pair["left"] == BASE else "left"
            other = "left" if ours == "right" else "right"
            body = {
                "comparison_id": pair["comparison_id"],
                "judgement": ours if rng.random() < rate else other,
            }
            await world.call("review", "/v1/comparisons", body)
            judged += 1
            await looked_at(world, judged, looks)
    return judged


async def looked_at(world: World, judged: int, looks: list[float]) -> None:  # noqa: F811
    """Return when the evaluator has looked at so many judgements, or asks for no more."""
    path = "/v1/evaluations"
    while contests := (await world.call("evaluator", path)).json()["contests"]:
        if contests[0]["judged"] >= judged:
            break
        await asyncio.sleep(0.02)
    # The first of two may have begun before.
    begun = len(looks)
    while len(looks) < begun + 2:
        await asyncio.sleep(0.02)


@pytest.mark.timeout(540)
async def test_people_choose_an_adapter_and_it_serves(
    looks: list[float],
    world: World,  # noqa: F811
) -> None:
    await trained(world)
    open_ones = (await world.call("evaluator", "/v1/evaluations")).json()["contests"]
    assert [one["route"] for one in open_ones] == [factories.ROUTE]
    await people(world, 0.95, looks)
    [verdict] = world.log.events("adapter-evaluated")
    assert verdict["verdict"] == "promote", verdict["reasons"]
    [test] = verdict["tests"]
    judged = sum(test[said] for said in ("wins", "losses", "ties", "neither"))
    assert judged < open_ones[0]["pairs"] and test["wins"] > 7
    assert world.log.events("calibration-fitted") == []
    async with asyncio.timeout(180):
        path = f"/v1/routes/{factories.ROUTE}"
        while (await world.call("router", path)).json()["champion"] is None:
            await world.ask(MESSAGES["refund"][0])
    answer = await world.ask(MESSAGES["refund"][0])
    assert answer["choices"][0]["message"]["content"] == "refund"
    assert answer["ratchet"]["adapter"] == verdict["adapter"]["adapter_id"]
    # What nobody came to is shown to nobody.
    async with asyncio.timeout(90):
        while (await world.call("review", "/v1/stats")).json()["comparisons"]:
            await asyncio.sleep(0.05)
    assert (await world.call("review", "/v1/comparisons/next")).status_code == 204
    assert not [topic for topic, _ in world.log.history if topic.endswith("-dlq")]


@pytest.mark.faults
@pytest.mark.timeout(540)
async def test_an_adapter_that_people_find_as_good_is_not_promoted(
    looks: list[float],
    world: World,  # noqa: F811
) -> None:
    await trained(world)
    judged = await people(world, 0.5, looks)
    [verdict] = world.log.events("adapter-evaluated")
    assert verdict["verdict"] == "reject" and judged > 20
    route = (await world.call("router", f"/v1/routes/{factories.ROUTE}")).json()
    assert route["champion"] is None and route["challenger"] is None

"""Reviewers disagree, a build finds it, and the question comes to them again: through the services
as they run.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests import factories
from tests.pipeline.test_story import World, world  # noqa: F401 - a fixture

ASKED = "Where is my parcel with the blue lamp"


async def until(world: World, topic: str, count: int) -> list[dict[str, Any]]:  # noqa: F811
    async with asyncio.timeout(180):
        while len(world.log.events(topic)) < count:
            await asyncio.sleep(0.05)
    return world.log.events(topic)


async def decide(world: World, answer: str) -> dict[str, Any]:  # noqa: F811
    async with asyncio.timeout(180):
        while (claimed := await world.call("review", "/v1/queue/next", {})).status_code != 200:
            await asyncio.sleep(0.05)
    item = claimed.json()
    body = {"verdict": "corrected", "answer": answer}
    await world.call("review", f"/v1/items/{item['item_id']}/verdict", body)
    return item


async def build(world: World, builds: int) -> dict[str, Any]:  # noqa: F811
    path = f"/v1/routes/{factories.ROUTE}"
    await world.call("dataset-builder", f"{path}/datasets", {"reason": "what is lost"})
    async with asyncio.timeout(180):
        while True:
            jobs = (await world.call("dataset-builder", "/v1/jobs")).json()["items"]
            if len(jobs) == builds and all(job["state"] == "finished" for job in jobs):
                return (await world.call("dataset-builder", f"{path}/lost")).json()
            await asyncio.sleep(0.05)


@pytest.mark.timeout(540)
async def test_what_reviewers_disagree_about_comes_to_them_again_by_itself(
    world: World,  # noqa: F811
) -> None:
    spec = factories.spec(
        labels=("delivery", "refund"),
        label_descriptions={},
        review={"rate": 1.0, "audit_rate": 0.0},
        retrain={"min_new_verdicts": 1000},
    )
    await world.call("router", "/v1/routes", spec.model_dump(mode="json"))
    for _ in range(2):
        await world.ask(ASKED)
    first = [await decide(world, answer) for answer in ("delivery", "refund")]
    assert {item["reason"] for item in first} <= {"sampled", "unsure"}
    await until(world, "review-completed", 2)

    lost = await build(world, builds=1)
    assert [row["reason"] for row in lost["items"]] == ["ambiguous"] * 2
    again = [await decide(world, "delivery") for _ in range(2)]
    assert {item["item_id"] for item in again} == {item["item_id"] for item in first}
    assert {item["why"] for item in again} == {"Reviewers disagreed: delivery (1), refund (1)."}

    said = await until(world, "review-completed", 6)
    assert sorted(event["withdrawn"] for event in said) == [False] * 4 + [True] * 2
    assert {event["supersedes"] for event in said[-2:]} == {item["item_id"] for item in first}
    # Nothing is lost, and nothing is asked for a third time.
    assert (await build(world, builds=2))["items"] == []
    requests = [event for event in world.log.events("review-requested") if event["review_id"]]
    assert len(requests) == 2
    assert not [topic for topic, _ in world.log.history if topic.endswith("-dlq")]

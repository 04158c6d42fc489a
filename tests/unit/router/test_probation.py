"""A champion that proves worse than what it replaced goes again, and others wait for a while."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.base import AdapterRef
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

# Audited answers of each side.
SIDE = 30


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.router.probation.EVERY", 0.1)
    monkeypatch.setattr("services.router.probation.LAG", 0.0)


async def judged(router: Running, verdict: str, count: int = SIDE) -> list[Any]:
    """Ask, and have each answer audited."""
    reviews = []
    for _ in range(count):
        said = (await router.chat()).json()["ratchet"]
        reviews.append(
            factories.review(
                inference_id=said["inference_id"],
                verdict=verdict,
                answer=None if verdict == "rejected" else "delivery",
                audit=True,
                arm=said["arm"],
                adapter_id=said["adapter"],
            )
        )
        await router.handle(reviews[-1])
    return reviews


async def promoted(router: Running, mark: str = "one") -> AdapterRef:
    adapter = router.adapter(mark)
    await router.promote(adapter, probe=None)
    return adapter


async def test_a_champion_that_is_wrong_more_often_is_rolled_back_and_others_wait(
    router: Running,
) -> None:
    await router.create()
    await judged(router, "approved")
    adapter = await promoted(router)
    await judged(router, "rejected", 8)
    await until(lambda: router.state().champion is None, 15)
    moved = (await router.events("RouteChanged"))[-1]
    assert "wrong more often than what it replaced" in moved["because"]
    assert moved["evidence"]["losses"] >= 6
    assert moved["evidence"]["against_correctness"] >= 20
    async with router.http() as http:
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()
        assert shown["frozen_until"] and "a rollback is fresh" in str(shown["warnings"])
        await router.handle(factories.evaluated(adapter=router.adapter("two")))
        assert router.state().challenger is None
        thawed = (await http.post(f"/v1/routes/{factories.ROUTE}/unfreeze")).json()
        assert thawed["frozen_until"] is None
    assert router.state().champion != adapter
    await promoted(router, "three")


async def test_verdicts_that_are_taken_back_or_said_twice_count_once(router: Running) -> None:
    await router.create()
    await judged(router, "approved")
    await promoted(router)
    reviews = await judged(router, "corrected", 3)
    for review in reviews:
        twice = review.model_copy(
            update={"review_id": factories.uuid7(), "event_id": factories.uuid7(), "probability": 1}
        )
        await router.handle(twice)
        taken = twice.model_copy(update={"event_id": factories.uuid7(), "withdrawn": True})
        await router.handle(taken)
        await router.handle(twice.model_copy(update={"review_id": factories.uuid7()}))
    async with router.http() as http:
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()["probation"]
    assert (shown["pairs"], shown["losses"]) == (3, 3)
    assert router.state().champion is not None


async def test_an_equal_champion_stays(router: Running) -> None:
    await router.create()
    await judged(router, "approved")
    adapter = await promoted(router)
    await judged(router, "approved")
    async with router.http() as http:
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()["probation"]
    assert (shown["pairs"], shown["losses"]) == (SIDE, 0)
    assert router.state().champion == adapter


async def test_a_champion_that_breaks_the_form_is_rolled_back(router: Running) -> None:
    await router.create()
    await promoted(router)
    router.vllm.answers = lambda model, _: ("delivery" if model == "base" else "I cannot", -0.1)
    async with router.http():
        for _ in range(60):
            await router.chat()
            if router.state().champion is None:
                break
    await until(lambda: router.state().champion is None, 15)
    moved = (await router.events("RouteChanged"))[-1]
    assert "failed or broke the format" in moved["because"]
    assert moved["evidence"]["against_failures"] >= 20

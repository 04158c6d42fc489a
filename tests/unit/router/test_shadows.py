"""What is asked beside a request: by whom, never on its way, and what follows from the verdict."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from schemas.base import AdapterRef
from services.router.evidence import Against, Comparison
from services.router.rollout import CanaryRule, Pick, Seen
from services.router.sent_route import SentRoute
from services.router.shadows import Beside, beside, digest
from services.router.state import RouteState
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

SPEC = factories.spec(canary={"quiet": "promote", "shadow": 1.0})
NEW, OLD = factories.adapter("b" * 12), factories.adapter("a" * 12)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.router.probation.EVERY", 0.1)
    monkeypatch.setattr("services.router.probation.LAG", 0.0)


def state(**changes: Any) -> RouteState:
    return RouteState(version=1, spec=SPEC).next(**changes)


@pytest.mark.parametrize(
    ("of", "pick", "found"),
    [
        (state(champion=OLD).challenged(NEW, 0.2), Pick("champion", OLD.adapter_id), NEW),
        (state().challenged(NEW, 0.2), Pick("base", None), NEW),
        # Whom the challenger answers is compared in the order of arrival.
        (state(champion=OLD).challenged(NEW, 0.2), Pick("challenger", NEW.adapter_id), None),
        (state(champion=NEW, previous=OLD, promoted_at=1.0), Pick("champion", NEW.adapter_id), OLD),
        (state(champion=NEW, promoted_at=1.0), Pick("champion", NEW.adapter_id), "base"),
        # Nobody is on trial, or the base model stands in for an adapter.
        (state(champion=NEW, previous=OLD), Pick("champion", NEW.adapter_id), None),
        (state(champion=NEW, promoted_at=1.0), Pick("base", None, NEW.adapter_id), None),
        (state(), Pick("base", None), None),
    ],
)
def test_the_other_of_the_two_that_are_compared_is_asked(
    of: RouteState, pick: Pick, found: AdapterRef | str | None
) -> None:
    asked = beside(of, pick)
    if found is None:
        assert asked is None
    elif found == "base":
        assert asked == Beside("base", None, is_new=False)
    else:
        assert asked is not None and isinstance(found, AdapterRef)
        assert (asked.adapter_id, asked.is_new) == (found.adapter_id, found == NEW)


async def rows(router: Running) -> list[Any]:
    table = router.service.parts.routes.tables.shadows
    async with router.service.db.read() as connection:
        return list((await connection.execute(select(table).order_by(table.c.at))).all())


async def shadowed(router: Running, count: int) -> list[Any]:
    """Wait until so many answers were asked beside."""
    found: list[Any] = []

    async with asyncio.timeout(15):
        while len(found) < count:
            found = await rows(router)
            await asyncio.sleep(0.02)
    return found


def judged(said: dict[str, Any], verdict: str = "approved", **changes: Any) -> Any:
    answer = {"approved": "delivery", "corrected": "refund", "rejected": None}[verdict]
    return factories.review(
        inference_id=said["inference_id"],
        verdict=verdict,
        model_answer="delivery",
        answer=answer,
        audit=True,
        **changes,
    )


async def on_probation(router: Running) -> AdapterRef:
    """Have a champion that is held against the base model, which says otherwise."""
    await router.create(SPEC)
    adapter = router.adapter()
    router.vllm.answers = lambda model, _: (
        ("refund", -0.3) if model == "base" else ("delivery", -0.05)
    )
    # Trusted, so that the base model is asked beside it and not after it.
    fitted = factories.calibration(SPEC, adapter_id=adapter.adapter_id, threshold=0.5)
    await router.handle(fitted)
    await router.promote(adapter, probe=None)
    return adapter


async def test_a_verdict_says_which_of_two_answers_to_one_question_is_right(
    router: Running,
) -> None:
    adapter = await on_probation(router)
    for number, verdict in enumerate(("approved", "corrected", "rejected")):
        said = (await router.chat()).json()["ratchet"]
        await shadowed(router, number + 1)
        await router.handle(judged(said, verdict))
    found = await rows(router)
    assert [(row.new_right, row.old_right) for row in found] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert {(row.new, row.old) for row in found} == {(adapter.adapter_id, "")}
    # What was said is not kept a second time.
    assert all(len(row.new_answer) == len(row.old_answer) == 64 for row in found)
    async with router.http() as http:
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()["probation"]
    assert (shown["pairs_beside"], shown["wins_beside"], shown["losses_beside"]) == (3, 1, 1)


async def test_numbers_are_compared_by_what_is_recorded_of_them(router: Running) -> None:
    """The number of the answer is known from the question alone."""
    spec = factories.spec(
        task="extraction",
        labels=(),
        canary=SPEC.canary,
        personal={"phone": "surrogate"},
        max_tokens=64,
    )
    await router.create(spec)
    adapter = router.adapter()
    router.vllm.answers = lambda model, _: (
        ('{"n": "4155552671"}', -0.05) if model != "base" else ('{"n": ""}', -0.3)
    )
    await router.handle(factories.calibration(spec, adapter_id=adapter.adapter_id, threshold=0.5))
    await router.promote(adapter, probe=None)
    await router.chat("Call me: 415 555 2671")
    [row] = await shadowed(router, 1)
    recorded = (await router.events("InferenceRecorded"))[-1]["answer"]
    assert recorded != '{"n": "4155552671"}' and row.new_answer == digest(recorded, spec)


async def test_a_verdict_that_is_taken_back_counts_no_more(router: Running) -> None:
    await on_probation(router)
    said = (await router.chat()).json()["ratchet"]
    await shadowed(router, 1)
    review = judged(said)
    await router.handle(review)
    taken = {"event_id": factories.uuid7(), "withdrawn": True}
    await router.handle(review.model_copy(update=taken))
    [row] = await rows(router)
    assert (row.new_right, row.old_right) == (None, None)


async def test_a_champion_that_loses_on_the_same_questions_is_rolled_back(router: Running) -> None:
    await on_probation(router)
    # All ask before the first verdict: after it the champion may be gone.
    said = [(await router.chat()).json()["ratchet"] for _ in range(12)]
    await shadowed(router, 12)
    for one in said:
        await router.handle(judged(one, "corrected"))
    await until(lambda: router.state().champion is None, 15)
    moved = (await router.events("RouteChanged"))[-1]
    assert "wrong more often than what it replaced" in moved["because"]
    assert moved["evidence"]["against_correctness_beside"] >= 80
    assert moved["evidence"]["pairs"] == 0, "no verdict from before the canary"


async def test_nobody_waits_for_it_and_it_gives_way(router: Running) -> None:
    adapter = await on_probation(router)
    router.vllm.slow["base"] = None
    said = (await router.chat()).json()["ratchet"]
    assert said["adapter"] == adapter.adapter_id
    shadows = router.service.parts.shadows
    await until(lambda: len(shadows._asking) == 1)
    shadows.make_room()
    await until(lambda: not shadows._asking)
    assert await rows(router) == []
    # Of its silence nobody is told: the base model may be asked as before.
    assert router.service.parts.fleet.unfit is None


async def test_without_room_or_a_route_that_wants_it_nobody_is_asked(router: Running) -> None:
    await on_probation(router)
    shadows = router.service.parts.shadows
    asked = len(router.vllm.asked)
    # One place of two is taken by another app.
    shadows.turns.at_once = 2
    await shadows.turns.take("globex")
    await router.chat()
    assert len(router.vllm.asked) == asked + 1
    shadows.turns.leave("globex")
    await router.create(factories.spec())
    await router.chat()
    assert len(router.vllm.asked) == asked + 2
    await router.create(SPEC)
    await router.chat()
    await shadowed(router, 1)
    assert len(router.vllm.asked) == asked + 4


async def test_the_base_model_that_was_asked_anyway_is_not_asked_twice(router: Running) -> None:
    await on_probation(router)
    router.vllm.answers = lambda model, _: (
        ("refund", -0.3) if model == "base" else ("delivery", -3.0)
    )
    asked = len(router.vllm.asked)
    await router.chat()
    await shadowed(router, 1)
    assert len(router.vllm.asked) == asked + 2


def test_free_text_has_no_shadow() -> None:
    sent = factories.spec(task="summarisation", labels=()).model_dump(mode="json")
    with pytest.raises(ValidationError, match="two good ones of summarisation differ"):
        SentRoute.model_validate(sent | {"canary": {"shadow": 0.1}})
    SentRoute.model_validate(sent | {"canary": {"shadow": 0}})


def test_a_new_route_that_names_its_shadow_alone_waits_all_the_same() -> None:
    sent = factories.spec().model_dump(mode="json") | {"canary": {"shadow": 0.1}}
    new = SentRoute.model_validate(sent).spec(None)
    assert (new.canary.quiet, new.canary.shadow) == ("wait", 0.1)
    kept = SentRoute.model_validate(sent | {"canary": {"shadow": 0.2}}).spec(SPEC)
    assert (kept.canary.quiet, kept.canary.shadow) == ("promote", 0.2)


def test_two_kinds_of_pairs_share_one_error() -> None:
    """The control: what is enough for one kind alone is not where there are two."""
    losing = Comparison(losses=7, pairs=7)
    assert 20 <= losing.evidence < 40
    rule = CanaryRule(0.2, 20, 30.0)
    alone = rule.verdict(Seen(40, 0, 60.0, compared=Against(losing)), "wait")
    shared = rule.verdict(Seen(40, 0, 60.0, compared=Against(losing, Comparison())), "wait")
    assert (alone.move, shared.move) == ("retract", "promote")
    worse = Comparison(losses=10, pairs=10)
    for both in (Against(worse, losing), Against(losing, worse)):
        assert rule.verdict(Seen(40, 0, 60.0, compared=both), "wait").move == "retract"

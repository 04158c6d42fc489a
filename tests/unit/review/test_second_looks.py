"""Some audited answers go to a second person, who does not know: the two tell how far reviewers are
right, and the second is no verdict of its own.
"""

from __future__ import annotations

import pytest

from schemas.route import ReviewRule
from services.review.sampling import coin, second_look
from tests import factories
from tests.unit.review.harness import Review, add_key
from tests.unit.review.test_inclusion import decide, undo

EVERY = {"rate": 1.0, "audit_rate": 1.0, "overlap_rate": 1.0}


@pytest.fixture
async def decided(review: Review) -> Review:
    """A route of which two people decide every answer, and one that ada has decided."""
    await review.hears(
        factories.route_changed(spec=factories.spec(review=EVERY)), factories.inference()
    )
    await decide(review)
    return review


async def test_somebody_else_decides_it_again_without_knowing(decided: Review) -> None:
    (first,) = await decided.said()
    bob = add_key(decided, "bob", "acme", {"review"})
    async with decided.client() as hers, decided.client(secret=bob) as his:
        assert (await hers.post("/v1/queue/next", json={})).status_code == 204
        assert (await hers.get("/v1/stats")).json()["second_looks"] == 1
        item = (await his.post("/v1/queue/next", json={})).json()
    shown = {name: item[name] for name in ("reason", "verdict", "reviewer", "right_answer")}
    assert shown == {"reason": "sampled", "verdict": None, "reviewer": None, "right_answer": None}
    assert item["inference_id"] == first.inference_id
    await decide(decided, item["item_id"], secret=bob)
    _, second = await decided.said()
    assert (second.second_of, second.reviewer) == (first.review_id, "bob")
    same = {"inference_id", "audit", "probability", "coin", "messages", "model_answer"}
    assert second.model_dump(include=same) == first.model_dump(include=same)
    async with decided.client() as hers, decided.client(secret=bob) as his:
        assert (await his.post("/v1/queue/next", json={})).status_code == 204
        assert (await hers.get("/v1/stats")).json()["second_looks"] == 0


async def test_who_decided_it_cannot_decide_it_twice(decided: Review) -> None:
    waiting = next(item for item in await decided.items() if item.second_of)
    async with decided.client() as hers:
        body = {"verdict": "approved"}
        said = await hers.post(f"/v1/items/{waiting.item_id}/verdict", json=body)
    assert (said.status_code, said.json()["error"]) == (409, "OwnVerdict")
    assert len(await decided.said()) == 1


async def test_it_blocks_nothing_where_there_is_one_reviewer(decided: Review) -> None:
    for _ in range(3):
        await decided.hears(factories.inference())
        await decide(decided)
    assert len(await decided.said()) == 4


async def test_a_verdict_that_is_given_anew_is_what_the_second_checks(decided: Review) -> None:
    (first,) = await decided.said()
    await undo(decided, first.review_id)
    await decide(decided, first.review_id)
    bob = add_key(decided, "bob", "acme", {"review"})
    await decide(decided, secret=bob)
    said = await decided.said()
    assert [event.second_of for event in said] == [None, None, None, f"{first.review_id}.1"]
    assert sum(item.second_of is not None for item in await decided.items()) == 1


async def test_a_second_look_is_taken_back_as_one(decided: Review) -> None:
    bob = add_key(decided, "bob", "acme", {"review"})
    async with decided.client(secret=bob) as his:
        item = (await his.post("/v1/queue/next", json={})).json()
        await his.post(f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"})
        await his.post(f"/v1/items/{item['item_id']}/undo")
    first, second, back = await decided.said()
    assert (back.withdrawn, back.second_of, back.review_id) == (
        True,
        first.review_id,
        second.review_id,
    )


async def test_what_is_not_audited_is_decided_once(review: Review) -> None:
    rule = EVERY | {"audit_rate": 0.0}
    await review.hears(
        factories.route_changed(spec=factories.spec(review=rule)), factories.inference()
    )
    await decide(review)
    assert len(await review.items()) == 1


def test_the_coin_of_a_second_look_is_fair_and_knows_nothing_of_the_first() -> None:
    rule = ReviewRule(audit_rate=0.1, overlap_rate=0.3)
    ids = [f"inference-{n}" for n in range(20_000)]
    audited = [name for name in ids if coin(name, "salt") < rule.audit_rate]
    share = sum(second_look(name, "salt", rule) for name in audited) / len(audited)
    assert abs(share - 0.3) < 4 * (0.21 / len(audited)) ** 0.5


async def test_a_complaint_comes_to_the_first_alone(decided: Review) -> None:
    (first,) = await decided.said()
    complaint = factories.feedback(inference_id=first.inference_id, kind="rating", value=0.0)
    await decided.hears(complaint)
    assert len(await decided.items()) == 2
    assert (await decided.said())[0].review_id == first.review_id

"""A verdict that others contradict comes to reviewers again: once, with the reason. What is said
then supersedes.
"""

from __future__ import annotations

import pytest

from schemas.events import ReviewCompleted, ReviewRequested
from tests import factories
from tests.unit.review.harness import Review, add_key
from tests.unit.review.test_inclusion import decide, undo
from tests.unit.review.test_pages import signed_in, visitor

SAID = {"refund": 2, "delivery": 2}


@pytest.fixture
async def decided(review: Review) -> Review:
    """A route that is reviewed in full, of which one answer is decided."""
    await review.hears(
        factories.route_changed(spec=factories.spec(review={"rate": 1.0, "audit_rate": 0.0})),
        factories.inference(),
    )
    await decide(review)
    return review


def request(verdict: ReviewCompleted, **changes: object) -> ReviewRequested:
    about = {"inference_id": verdict.inference_id, "review_id": verdict.review_id, "said": SAID}
    return factories.review_requested(**(about | changes))


async def test_it_is_withdrawn_and_waits_for_whoever_comes(decided: Review) -> None:
    bob = add_key(decided, "bob", "acme", {"review"})
    (first,) = await decided.said()
    await decided.hears(request(first))
    async with decided.client(secret=bob) as client:
        queue = (await client.get("/v1/queue")).json()
        item = (await client.post("/v1/queue/next", json={})).json()
    assert queue["by_reason"] == {"disagreed": 1}
    assert (item["reason"], item["why"]) == (
        "disagreed",
        "Reviewers disagreed: refund (2), delivery (2).",
    )
    assert (item["verdict"], item["reviewer"], item["right_answer"]) == (None, None, None)
    await decide(decided, item["item_id"], secret=bob)
    _, withdrawn, second = await decided.said()
    assert (withdrawn.review_id, withdrawn.withdrawn) == (first.review_id, True)
    assert (withdrawn.answer, withdrawn.reviewer) == (first.answer, first.reviewer)
    assert (second.supersedes, second.reviewer) == (first.review_id, "bob")
    # It is in the sample for the same reason, and as likely, as before.
    same = {"reason", "probability", "audit", "coin", "inference_id", "asked_at"}
    assert second.model_dump(include=same) == first.model_dump(include=same)


async def test_it_comes_to_others_first_and_to_its_reviewer_when_nothing_else_waits(
    decided: Review,
) -> None:
    (first,) = await decided.said()
    bob = add_key(decided, "bob", "acme", {"review"})
    await decided.hears(request(first))
    await decided.hears(other := factories.inference())
    async with decided.client() as hers, decided.client(secret=bob) as his:
        # It has waited longer than the other.
        item = (await hers.post("/v1/queue/next", json={})).json()
        assert item["inference_id"] == other.inference_id
        assert (await his.post("/v1/queue/next", json={})).json()["reason"] == "disagreed"
        await his.post(f"/v1/items/{first.review_id}/release")
        body = {"verdict": "approved"}
        await hers.post(f"/v1/items/{item['item_id']}/verdict", json=body)
        route = {"route": factories.ROUTE}
        assert (await hers.post("/v1/queue/next", json=route)).json()["reason"] == "disagreed"


async def test_asked_again_and_again_it_comes_once(decided: Review) -> None:
    (first,) = await decided.said()
    await decided.hears(request(first), request(first))
    assert [event.withdrawn for event in await decided.said()] == [False, True]
    await decide(decided)
    await decided.hears(request(first))
    assert len(await decided.said()) == 3
    (item,) = await decided.items()
    assert item.state == "done"


async def test_one_that_was_undone_or_given_again_meanwhile_is_left_alone(decided: Review) -> None:
    (first,) = await decided.said()
    item_id = first.review_id
    await undo(decided, item_id)
    await decided.hears(request(first))
    await decide(decided, item_id)
    await decided.hears(request(first))
    said = await decided.said()
    assert [event.withdrawn for event in said] == [False, True, False]
    (item,) = await decided.items()
    assert (item.state, item.disagreement) == ("done", None)


async def test_what_does_not_exist_here_changes_nothing(decided: Review) -> None:
    (first,) = await decided.said()
    await decided.hears(
        request(first, inference_id="never heard of"),
        request(first, tenant="globex", route="globex/triage"),
        request(first, review_id=f"{first.review_id}.7"),
    )
    assert len(await decided.said()) == len(await decided.items()) == 1


async def test_a_complaint_while_it_waits_and_after_acts_as_ever(decided: Review) -> None:
    (first,) = await decided.said()
    await decided.hears(
        request(first), factories.feedback(inference_id=first.inference_id, value=0.0)
    )
    async with decided.client() as client:
        item = (await client.post("/v1/queue/next", json={})).json()
    assert item["reason"] == "disagreed"
    await decide(decided, item["item_id"])
    assert (await decided.said())[-1].reason == "feedback"


async def test_one_whose_content_nobody_can_see_stays_decided(decided: Review) -> None:
    (first,) = await decided.said()
    table = decided.service.metadata.tables["items"]
    async with decided.service.db.transaction() as tx:
        await tx.execute(table.update().values(asked=b"not zlib"))
    await decided.hears(request(first))
    assert len(await decided.said()) == 1


async def test_the_page_says_why_and_escapes_what_was_said(decided: Review) -> None:
    (first,) = await decided.said()
    await decided.hears(request(first, said={"<b>refund</b>": 1, "delivery": 1}))
    async with visitor(decided) as client:
        await signed_in(client, decided.keys["acme"])
        page = await client.get("/review")
        assert "Reviewers disagreed: &lt;b&gt;refund&lt;/b&gt; (1), delivery (1)." in page.text
        assert "badge-disagreed" in page.text
        queue = await client.get("/queue")
        assert "Disagreement" in queue.text and queue.status_code == 200

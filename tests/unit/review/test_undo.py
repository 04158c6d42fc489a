"""A verdict can be taken back: the item comes back to who did it, and what follows supersedes."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from schemas.events import ReviewCompleted
from tests import factories
from tests.unit.review.harness import Review, add_key
from tests.unit.review.test_pages import signed_in, token, visitor


@pytest.fixture
async def asked(review: Review) -> Review:
    """A route that is reviewed in full, by one person each and a guideline, and one answer in its
    queue.
    """
    rates = {"rate": 1.0, "audit_rate": 1.0, "overlap_rate": 0.0}
    spec = factories.spec(review=rates, guideline="2026-11 b")
    await review.hears(factories.route_changed(spec=spec), factories.inference())
    return review


async def decide(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    item = (await client.post("/v1/queue/next", json={})).json()
    done = await client.post(f"/v1/items/{item['item_id']}/verdict", json=body)
    assert done.status_code == 200, done.text
    return done.json()


async def undo(client: httpx.AsyncClient, item_id: str) -> httpx.Response:
    return await client.post(f"/v1/items/{item_id}/undo")


def facts(event: ReviewCompleted) -> tuple[str, str | None, bool, str | None]:
    return event.verdict, event.answer, event.withdrawn, event.supersedes


async def test_a_mistake_is_taken_back_and_decided_again(asked: Review) -> None:
    async with asked.client() as client:
        item_id = (await decide(client, verdict="approved"))["item_id"]
        back = await undo(client, item_id)
        assert back.status_code == 200
        assert (back.json()["state"], back.json()["verdict"]) == ("claimed", None)
        assert (await client.get("/v1/stats")).json()["done_today"] == 0
        done = await client.post(
            f"/v1/items/{item_id}/verdict", json={"verdict": "corrected", "answer": "refund"}
        )
        assert (done.status_code, done.json()["right_answer"]) == (200, "refund")
    first, taken_back, second = await asked.said()
    assert facts(first) == ("approved", "delivery", False, None)
    assert facts(taken_back) == ("approved", "delivery", True, None)
    assert facts(second) == ("corrected", "refund", False, item_id)
    assert first.review_id == taken_back.review_id == item_id != second.review_id
    assert len({first.event_id, taken_back.event_id, second.event_id}) == 3
    assert first.occurred_at <= taken_back.occurred_at <= second.occurred_at
    assert {event.guideline for event in (first, taken_back, second)} == {"2026-11 b"}
    assert first.audit and second.audit and first.inference_id == second.inference_id


async def test_each_verdict_supersedes_the_one_before_it(asked: Review) -> None:
    async with asked.client() as client:
        item_id = (await decide(client, verdict="rejected"))["item_id"]
        for answer in ("refund", "password", "delivery"):
            await undo(client, item_id)
            await client.post(
                f"/v1/items/{item_id}/verdict", json={"verdict": "corrected", "answer": answer}
            )
    said = await asked.said()
    verdicts = [event for event in said if not event.withdrawn]
    assert [event.supersedes for event in verdicts] == [
        None,
        *(event.review_id for event in verdicts[:-1]),
    ]
    assert [event.review_id for event in said if event.withdrawn] == [
        event.review_id for event in verdicts[:-1]
    ]
    assert len({event.review_id for event in verdicts}) == 4


async def test_taking_back_twice_says_it_once(asked: Review) -> None:
    async with asked.client() as client:
        item_id = (await decide(client, verdict="approved"))["item_id"]
        assert [(await undo(client, item_id)).status_code for _ in range(3)] == [200] * 3
    assert [event.withdrawn for event in await asked.said()] == [False, True]


async def test_only_its_reviewer_or_an_admin_takes_a_verdict_back(asked: Review) -> None:
    ada, bob = (add_key(asked, name, "acme", {"review"}) for name in ("ada", "bob"))
    lead = add_key(asked, "lead", "acme", {"review", "admin"})
    async with asked.client(secret=ada) as hers, asked.client(secret=bob) as his:
        item_id = (await decide(hers, verdict="approved"))["item_id"]
        refused = await undo(his, item_id)
        assert (refused.status_code, refused.json()["error"]) == (409, "VerdictOfAnother")
        assert "ada" in refused.json()["detail"]
    async with asked.client(tenant="globex") as stranger:
        assert (await undo(stranger, item_id)).status_code == 404
    assert len(await asked.said()) == 1
    async with asked.client(secret=lead) as client:
        assert (await undo(client, item_id)).json()["state"] == "claimed"
        done = await client.post(
            f"/v1/items/{item_id}/verdict", json={"verdict": "corrected", "answer": "refund"}
        )
        assert done.status_code == 200
    assert [event.reviewer for event in await asked.said()] == ["ada", "lead", "lead"]


async def test_what_nobody_decided_cannot_be_taken_back(asked: Review) -> None:
    async with asked.client() as client:
        item = (await client.post("/v1/queue/next", json={})).json()
        refused = await undo(client, item["item_id"])
        assert (refused.status_code, refused.json()["error"]) == (409, "NothingToUndo")
        assert (await undo(client, "0" * 36)).status_code == 404
    assert await asked.said() == []


async def test_an_undone_item_that_is_left_comes_to_others(asked: Review) -> None:
    bob = add_key(asked, "bob", "acme", {"review"})
    async with asked.client() as client, asked.client(secret=bob) as his:
        item_id = (await decide(client, verdict="approved"))["item_id"]
        await undo(client, item_id)
        assert (await his.post("/v1/queue/next", json={})).status_code == 204
        assert (await client.post(f"/v1/items/{item_id}/release")).status_code == 204
        again = await undo(client, item_id)
        assert (again.status_code, again.json()["error"]) == (409, "NothingToUndo")
        assert (await decide(his, verdict="rejected"))["item_id"] == item_id
    *_, last = await asked.said()
    assert (last.reviewer, last.supersedes) == ("bob", item_id)


async def test_the_pages_offer_it_for_the_last_verdict_and_in_the_history(asked: Review) -> None:
    await asked.hears(factories.inference(answer="refund"))
    async with visitor(asked) as client:
        await signed_in(client, asked.keys["acme"])
        page = await client.get("/review")
        first = re.search(r'data-item="([^"]+)"', page.text)[1]
        assert 'data-key="u"' not in page.text and "Guideline: 2026-11 b" in page.text
        form = {"csrf": token(page), "verdict": "approved", "answer": "", "route": ""}
        done = await client.post(f"/review/{first}/verdict", data=form)
        following = await client.get(done.headers["location"])
        assert (
            f'action="/review/{first}/undo"' in following.text and 'data-key="u"' in following.text
        )
        assert f'data-item="{first}"' not in following.text
        assert f'action="/review/{first}/undo"' in (await client.get("/history")).text
        back = await client.post(f"/review/{first}/undo", data={"csrf": token(page)})
        shown = await client.get(back.headers["location"])
        assert f'data-item="{first}"' in shown.text and 'data-saved="Taken back"' in shown.text
        # There is no other verdict of this session.
        assert "/undo" not in shown.text
        assert (await client.post(f"/review/{first}/undo", data={"csrf": "no"})).status_code == 403

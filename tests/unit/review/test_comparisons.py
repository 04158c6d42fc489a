"""Pairs of answers: claimed by one, judged blind, published once."""

from __future__ import annotations

import pytest

from schemas.comparisons import AnswersCompared, ComparisonRequested
from shared.rules import store_compared
from tests import factories
from tests.unit.review.harness import Review, add_key


def request(number: int = 1, **changes: object) -> ComparisonRequested:
    return factories.comparison_requested(comparison_id=f"pair-{number}", **changes)


@pytest.fixture
async def asked(review: Review) -> Review:
    await review.hears(request(1), request(2))
    return review


async def compared(review: Review) -> list[AnswersCompared]:
    table = review.service.outbox.table
    async with review.service.db.read() as connection:
        rows = await connection.execute(table.select().order_by(table.c.seq))
        return [AnswersCompared.model_validate_json(row.payload) for row in rows]


async def test_a_pair_is_shown_blind_and_judged_once(asked: Review) -> None:
    async with asked.client() as client:
        pair = (await client.get("/v1/comparisons/next")).json()
        assert set(pair) == {"comparison_id", "route", "messages", "left", "right"}
        # Asked again, it is the one that is open.
        assert (await client.get("/v1/comparisons/next")).json() == pair
        body = {"comparison_id": pair["comparison_id"], "judgement": "left"}
        for _ in range(2):
            said = await client.post("/v1/comparisons", json=body)
            assert (said.status_code, said.json()["judgement"]) == (200, "left")
        refused = await client.post("/v1/comparisons", json=body | {"judgement": "tie"})
        assert (refused.status_code, refused.json()["error"]) == (409, "AlreadyCompared")
        assert (await client.get("/v1/stats")).json()["comparisons"] == 1
    (event,) = await compared(asked)
    assert (event.judgement, event.judge, event.by) == ("left", "person", "acme-all")
    assert (event.comparison_id, event.evaluation_id) == ("pair-1", "evaluation-1")
    assert event.seconds is not None


async def test_two_reviewers_get_two_pairs_and_a_third_none(asked: Review) -> None:
    bob = add_key(asked, "bob", "acme", {"review"})
    eve = add_key(asked, "eve", "acme", {"review"})
    taken = []
    for secret in (None, bob):
        async with asked.client(secret=secret) as client:
            taken.append((await client.get("/v1/comparisons/next")).json()["comparison_id"])
    assert sorted(taken) == ["pair-1", "pair-2"]
    async with asked.client(secret=eve) as client:
        assert (await client.get("/v1/comparisons/next")).status_code == 204
        body = {"comparison_id": taken[0], "judgement": "right"}
        refused = await client.post("/v1/comparisons", json=body)
        assert (refused.status_code, refused.json()["error"]) == (409, "ComparedByOther")


async def test_a_skipped_pair_comes_to_others_and_back(asked: Review) -> None:
    bob = add_key(asked, "bob", "acme", {"review"})
    async with asked.client() as hers, asked.client(secret=bob) as his:
        first = (await hers.get("/v1/comparisons/next")).json()["comparison_id"]
        assert (await hers.post(f"/v1/comparisons/{first}/release")).status_code == 204
        assert (await hers.get("/v1/comparisons/next")).json()["comparison_id"] != first
        assert (await his.get("/v1/comparisons/next")).json()["comparison_id"] == first


async def test_another_tenant_sees_nothing_of_it(asked: Review) -> None:
    async with asked.client("globex") as client:
        assert (await client.get("/v1/comparisons/next")).status_code == 204
        body = {"comparison_id": "pair-1", "judgement": "left"}
        assert (await client.post("/v1/comparisons", json=body)).status_code == 404
        assert (await client.post("/v1/comparisons/pair-1/release")).status_code == 404


async def test_a_key_without_the_scope_is_refused(asked: Review) -> None:
    reader = add_key(asked, "reader", "acme", {"read"})
    async with asked.client(secret=reader) as client:
        assert (await client.get("/v1/comparisons/next")).status_code == 403


async def test_large_answers_come_from_the_store(review: Review) -> None:
    blobs = review.service.parts.desk.blobs
    asked = request(left="x" * 300_000)
    content = store_compared(blobs, asked.messages, asked.left, asked.right)
    assert content
    empty = {"messages": (), "left": "", "right": "", "content": content}
    await review.hears(asked.model_copy(update=empty))
    async with review.client() as client:
        assert (await client.get("/v1/comparisons/next")).json()["left"] == asked.left


async def test_the_same_request_again_is_one_pair_and_a_judged_one_keeps_no_text(
    asked: Review,
) -> None:
    async with asked.client() as client:
        pair = (await client.get("/v1/comparisons/next")).json()["comparison_id"]
        await client.post("/v1/comparisons", json={"comparison_id": pair, "judgement": "neither"})
    await asked.hears(request(1))
    async with asked.service.db.transaction() as tx:
        stored = asked.service.parts.comparisons
        rows = (await tx.execute(stored.table.select())).all()
        assert len(rows) == 2
    async with asked.client() as client:
        assert (await client.get("/v1/comparisons/next")).json()["comparison_id"] == "pair-2"


async def test_nobody_is_asked_about_an_evaluation_that_is_over(asked: Review) -> None:
    async with asked.client() as client:
        held = (await client.get("/v1/comparisons/next")).json()
        await asked.hears(factories.evaluated(evaluation_id="evaluation-1"))
        assert (await client.get("/v1/comparisons/next")).status_code == 204
        assert (await client.get("/v1/stats")).json()["comparisons"] == 0
        body = {"comparison_id": held["comparison_id"], "judgement": "left"}
        late = await client.post("/v1/comparisons", json=body)
        assert late.status_code == 404 and "enough was said" in late.json()["detail"]
        # Topics promise no order: its pairs may come after its end.
        await asked.hears(request(3), request(4, evaluation_id="evaluation-2"))
        next_one = (await client.get("/v1/comparisons/next")).json()
        assert next_one["comparison_id"] == "pair-4"
    assert await compared(asked) == []


async def test_what_was_judged_of_an_evaluation_that_is_over_stays(asked: Review) -> None:
    async with asked.client() as client:
        body = {"comparison_id": "pair-1", "judgement": "left"}
        assert (await client.post("/v1/comparisons", json=body)).status_code == 200
        await asked.hears(factories.evaluated(evaluation_id="evaluation-1"))
        assert (await client.post("/v1/comparisons", json=body)).status_code == 200

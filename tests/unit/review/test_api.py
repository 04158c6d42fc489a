"""The queue over HTTP: claims, verdicts, releases, tenants."""

import asyncio
import json

import pytest

from schemas.base import BlobRef
from shared.rules import Content
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.review.harness import Review, add_key


async def take(client) -> dict:
    response = await client.post("/v1/queue/next", json={})
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_correction_is_published_once_with_what_was_known_at_decision_time(
    reviewing_all: Review,
) -> None:
    inference = factories.inference(adapter_id="acme--support-triage@0123456789ab", arm="champion")
    await reviewing_all.hears(inference)
    async with reviewing_all.client() as client:
        item = await take(client)
        assert (
            item["labels"] == ["delivery", "refund", "password"]
            and item["messages"][0]["content"] == factories.USER[0].content
        )
        assert (
            item["confidence"] == {"probability": 0.9, "calibrated": False} and item["approvable"]
        )
        done = await client.post(
            f"/v1/items/{item['item_id']}/verdict",
            json={"verdict": "corrected", "answer": "Refund"},
        )
        again = await client.post(
            f"/v1/items/{item['item_id']}/verdict",
            json={"verdict": "corrected", "answer": "refund"},
        )
        other = await client.post(
            f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"}
        )
    assert (
        done.status_code == again.status_code == 200
        and done.json()["right_answer"] == "refund"
        and again.json() == done.json()
    )
    assert other.status_code == 409 and other.json()["error"] == "AlreadyDecided"
    (event,) = await reviewing_all.said()
    assert (event.verdict, event.answer, event.model_answer, event.reviewer) == (
        "corrected",
        "refund",
        "delivery",
        "acme-all",
    )
    assert (event.review_id, event.inference_id, event.arm) == (
        item["item_id"],
        inference.inference_id,
        "champion",
    )
    assert (event.probability, event.asked_at, event.messages) == (
        1.0,
        inference.occurred_at,
        inference.messages,
    )
    assert (
        event.seconds is not None and 0 <= event.seconds < 60 and event.audit == (event.coin < 0.04)
    )


async def test_what_a_reviewer_sees_does_not_tell_audited_items_or_arms(review: Review) -> None:
    await review.hears(
        factories.route_changed(spec=factories.spec(review={"rate": 1.0, "audit_rate": 1.0})),
        factories.inference(),
    )
    async with review.client() as client:
        queue = (await client.get("/v1/queue")).json()
        item = await take(client)
        stats = (await client.get("/v1/stats")).json()
    assert item["reason"] == queue["items"][0]["reason"] == "sampled"
    assert queue["by_reason"] == stats["open_by_reason"] == {"sampled": 1}
    assert not {"audit", "coin", "probability", "arm", "adapter_id", "model"} & set(item)


async def test_concurrent_reviewers_never_get_the_same_item(reviewing_all: Review) -> None:
    await reviewing_all.hears(*(factories.inference() for _ in range(12)))
    async with reviewing_all.client() as client:
        taken = await asyncio.gather(*(client.post("/v1/queue/next") for _ in range(15)))
    assert sorted(response.status_code for response in taken) == [200] * 12 + [204] * 3
    assert (
        len({response.json()["item_id"] for response in taken if response.status_code == 200}) == 12
    )


async def test_an_expired_claim_goes_to_the_next_reviewer_and_the_first_is_too_late(
    reviewing_all: Review,
) -> None:
    await reviewing_all.hears(factories.inference())
    bob = add_key(reviewing_all, "bob", "acme", {"review"})
    async with reviewing_all.client() as ada, reviewing_all.client(secret=bob) as other:
        item = await take(ada)
        assert (await other.post("/v1/queue/next")).status_code == 204
        assert (
            await other.post(f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"})
        ).json()["error"] == "ClaimedByOther"
        await expire_claims(reviewing_all)
        assert (await take(other))["item_id"] == item["item_id"]
        assert (
            await ada.post(f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"})
        ).status_code == 409
        assert (
            await other.post(f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"})
        ).status_code == 200


async def expire_claims(review: Review) -> None:
    items = review.service.metadata.tables["items"]
    async with review.service.db.transaction() as tx:
        await tx.execute(items.update().values(claimed_until=1.0))


async def test_a_released_item_comes_back_after_all_others(reviewing_all: Review) -> None:
    await reviewing_all.hears(factories.inference(), factories.inference())
    async with reviewing_all.client() as client:
        first = await take(client)
        assert (await client.post(f"/v1/items/{first['item_id']}/release")).status_code == 204
        second = await take(client)
        third = await take(client)
    assert second["item_id"] != first["item_id"] == third["item_id"]


async def test_a_label_added_to_the_route_works_at_once(reviewing_all: Review) -> None:
    await reviewing_all.hears(factories.inference())
    async with reviewing_all.client() as client:
        verdict = (
            f"/v1/items/{(await take(client))['item_id']}/verdict",
            {
                "verdict": "corrected",
                "answer": "invoice",
            },
        )
        refused = await client.post(verdict[0], json=verdict[1])
        assert (
            refused.status_code == 422 and "delivery, refund, password" in refused.json()["detail"]
        )
        labels = ("delivery", "refund", "password", "invoice")
        await reviewing_all.hears(
            factories.route_changed(
                version=2, spec=factories.spec(labels=labels, review={"rate": 1.0})
            )
        )
        assert (await client.post(verdict[0], json=verdict[1])).json()["right_answer"] == "invoice"


async def test_each_item_comes_with_its_own_routes_answers(reviewing_all: Review) -> None:
    text = factories.spec(
        name="acme/summaries", task="summarisation", labels=(), review={"rate": 1.0}
    )
    await reviewing_all.hears(
        factories.route_changed(route=text.name, spec=text),
        factories.inference(route=text.name, answer="A summary."),
        factories.inference(),
    )
    async with reviewing_all.client() as client:
        summary = await take(client)
        label = await take(client)
        assert (summary["route"], summary["task"], summary["labels"], summary["approvable"]) == (
            text.name,
            "summarisation",
            [],
            True,
        )
        assert (label["route"], label["task"], len(label["labels"])) == (
            factories.ROUTE,
            "classification",
            3,
        )
        assert (await client.get(f"/v1/items/{summary['item_id']}")).json()[
            "task"
        ] == "summarisation"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/items/{id}", None),
        ("POST", "/v1/items/{id}/verdict", {"verdict": "approved"}),
        ("POST", "/v1/items/{id}/release", None),
    ],
)
async def test_another_tenants_item_is_not_found(
    reviewing_all: Review, method: str, path: str, body: dict | None
) -> None:
    await reviewing_all.hears(factories.inference())
    async with reviewing_all.client("acme") as owner, reviewing_all.client("globex") as stranger:
        item = await take(owner)
        response = await stranger.request(method, path.format(id=item["item_id"]), json=body)
        assert (response.status_code, response.json()["error"]) == (404, "ItemNotFound")
        assert (
            await stranger.post("/v1/queue/next", json={"route": factories.ROUTE})
        ).status_code == 204
        listed = (await stranger.get("/v1/queue", params={"route": factories.ROUTE})).json()
        assert (listed["open"], listed["items"], listed["by_route"]) == (0, [], {})
    assert (await reviewing_all.items())[0].state == "open"


async def test_items_that_were_set_aside_are_not_served(review: Review) -> None:
    await review.hears(
        factories.route_changed(spec=factories.spec(review={"rate": 0.0, "audit_rate": 0.0})),
        factories.inference(),
    )
    async with review.client() as client:
        assert (
            await client.get(f"/v1/items/{(await review.items())[0].item_id}")
        ).status_code == 404
        assert (await client.post("/v1/queue/next")).status_code == 204


async def test_the_scope_review_is_needed(review: Review) -> None:
    app = add_key(review, "app", "acme", {"infer", "admin", "read"})
    # pragma: allowlist nextline secret
    async with review.client(secret=app) as client, review.client(secret="rk_wrong") as nobody:
        assert (await client.post("/v1/queue/next")).status_code == 403
        assert (await nobody.get("/v1/stats")).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"verdict": "fine"},
        {"verdict": "corrected"},
        {"verdict": "approved", "tenant": "globex"},
        {"verdict": "corrected", "answer": "x" * 70_000},
    ],
)
async def test_bad_verdicts_say_what_to_do(reviewing_all: Review, body: dict) -> None:
    await reviewing_all.hears(factories.inference())
    async with reviewing_all.client() as client:
        response = await client.post(
            f"/v1/items/{(await take(client))['item_id']}/verdict", json=body
        )
    assert response.status_code == 422 and response.json()["detail"]


async def test_large_content_is_fetched_when_shown_and_never_copied_into_an_event(
    reviewing_all: Review, tmp_path
) -> None:
    content = Content(messages=({"role": "user", "content": "long " * 60_000},), answer="refund")
    ref: BlobRef = BlobStore(f"file://{tmp_path}/artifacts").put_bytes(
        content.model_dump_json().encode(), "contents", ".json"
    )
    await reviewing_all.hears(factories.inference(messages=(), answer="", content=ref))
    async with reviewing_all.client() as client:
        item = await take(client)
        assert item["messages"][0]["content"] == "long " * 60_000 and item["answer"] == "refund"
        assert (
            await client.post(f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"})
        ).status_code == 200
    (event,) = await reviewing_all.said()
    assert (event.content, event.messages, event.answer) == (ref, (), "refund") and len(
        event.model_dump_json()
    ) < 5_000


async def test_listings_are_paged_and_statistics_add_up(reviewing_all: Review) -> None:
    await reviewing_all.hears(
        *(factories.inference() for _ in range(5)), factories.inference(outcome="unsure")
    )
    async with reviewing_all.client() as client:
        for verdict in ({"verdict": "approved"}, {"verdict": "rejected"}):
            await client.post(f"/v1/items/{(await take(client))['item_id']}/verdict", json=verdict)
        page = (await client.get("/v1/queue", params={"limit": 3})).json()
        rest = (await client.get("/v1/queue", params={"limit": 3, "offset": page["next"]})).json()
        stats = (await client.get("/v1/stats")).json()
        assert (await client.get("/v1/queue", params={"limit": 201})).status_code == 422
    assert (page["open"], len(page["items"]), page["next"], len(rest["items"]), rest["next"]) == (
        4,
        3,
        3,
        1,
        None,
    )
    assert (stats["open"], stats["done_today"], stats["open_by_reason"]) == (
        4,
        2,
        {"sampled": 3, "unsure": 1},
    )
    assert stats["done_today_by_reviewer"] == {"acme-all": 2} and stats["done_today_by_route"] == {
        factories.ROUTE: 2
    }
    assert 0 <= stats["p50_seconds"] < 60


async def test_a_verdict_and_its_event_commit_together(reviewing_all: Review, monkeypatch) -> None:
    await reviewing_all.hears(factories.inference())

    async def crash(*_: object) -> None:
        raise ConnectionError

    async with reviewing_all.client() as client:
        item = await take(client)
        monkeypatch.setattr(reviewing_all.service.outbox, "add", crash)
        broken = await client.post(
            f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"}
        )
        assert broken.status_code == 500
        monkeypatch.undo()
        assert (await reviewing_all.items())[0].state == "open"
        assert (
            await client.post(f"/v1/items/{item['item_id']}/verdict", json={"verdict": "approved"})
        ).status_code == 200
    assert len(await reviewing_all.said()) == 1 and json.loads(
        (await reviewing_all.said())[0].model_dump_json()
    )

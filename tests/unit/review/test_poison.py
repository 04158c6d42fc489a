"""Whatever an item holds, a reviewer sees the page, can skip, and gets another one."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, update

from schemas.base import Message
from schemas.events import InferenceRecorded
from services.review import rendering
from services.review.cut import MOST_MESSAGES, MOST_OF_A_TEXT
from services.review.desk import Desk
from shared.rules.content import store_content
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.review.harness import Review, add_key
from tests.unit.review.test_pages import signed_in, token, visitor

EXTRACTION = factories.spec(
    task="extraction", labels=(), output_schema={"type": "object"}, review={"rate": 1.0}
)
RECURSIVE = {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}}
# The answers, each with a route under which it is the hardest to show.
ANSWERS: dict[str, str] = {
    "deep list": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "deep and never closed": "[" * 2000,
    "just too deep for json.loads": "[" * 940 + "]" * 940,
    "ten megabytes": "x" * 10_000_000,
    "ten megabytes of hidden characters": "\u202e" * 10_000_000,
    "a number of 100,000 digits": "1" * 100_000,
    "NUL and control characters": '{"a":"\x00\x1b[2J\x07"}',
    "an escaped lone surrogate": '{"a":"\\ud800"}',
    "half of a JSON": '{"a": [1, 2',
    "markup": "</textarea></main><script>hacked = 1</script>{{ 7 * 7 }}{% raw %}",
    "markdown": "[x](javascript:alert(1))" * 5000 + "`" * 5000,
    "combining marks": "e" + "\u0301" * 100_000,
    "nothing": "",
}


class Ada:
    """A reviewer at the pages."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def next(self) -> httpx.Response:
        # of the processor, not the clock: other processes may have it for seconds
        began = time.process_time()
        page = await self.client.get("/review")
        assert page.status_code == 200, page.text
        assert time.process_time() - began < 3.0
        return page

    async def skip(self, page: httpx.Response) -> httpx.Response:
        """Send the form of the page's Skip button, with all its fields."""
        form = re.search(r'<form[^>]*action="([^"]+/skip)"[^>]*>(.*?)</form>', page.text, re.DOTALL)
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[2]))
        done = await self.client.post(form[1], data=fields)
        assert done.status_code == 303, done.text
        return await self.next()


def shown(page: httpx.Response) -> str | None:
    found = re.search(r'data-item="([^"]+)"', page.text)
    return found and found[1]


def by_reference(review: Review, messages: tuple[Message, ...], answer: str) -> InferenceRecorded:
    blobs = BlobStore(review.service.settings.artifacts_url)
    ref = store_content(blobs, messages, answer)
    return factories.inference(messages=(), answer="", content=ref)


async def at_the_pages(review: Review, client: httpx.AsyncClient) -> Ada:
    await signed_in(client, review.keys["acme"])
    return Ada(client)


@pytest.mark.parametrize("name", ANSWERS)
async def test_any_answer_is_shown_or_cut_and_can_be_skipped(review: Review, name: str) -> None:
    answer = ANSWERS[name]
    await review.hears(
        factories.route_changed(spec=EXTRACTION),
        by_reference(review, factories.USER, answer),
        factories.inference(answer='{"a": 1}'),
    )
    async with visitor(review) as client, review.client() as api:
        ada = await at_the_pages(review, client)
        first = await ada.next()
        assert "data-trouble" not in first.text
        if len(answer) > MOST_OF_A_TEXT:
            assert "Cut here" in first.text
            everything = await client.get(f"/review/{shown(first)}/content")
            assert everything.json()["answer"] == answer
            assert "attachment" in everything.headers["content-disposition"]
        item = (await api.get(f"/v1/items/{shown(first)}")).json()
        assert item["answer"] == answer
        second = await ada.skip(first)
        assert shown(second) not in (None, shown(first))
        assert (await api.get("/v1/queue")).json()["open"] == 2


async def test_an_answer_that_was_cut_cannot_be_saved_as_the_right_one(review: Review) -> None:
    await review.hears(
        factories.route_changed(spec=EXTRACTION),
        by_reference(review, factories.USER, '"' + "x" * 100_000 + '"'),
    )
    async with visitor(review) as client:
        page = await (await at_the_pages(review, client)).next()
    assert re.search(r"<textarea[^>]*>\s*</textarea>", page.text)
    assert "too long to be edited" in page.text


async def test_ten_thousand_messages_and_ten_thousand_labels(review: Review) -> None:
    labels = tuple(f"label {number}" for number in range(10_000))
    await review.hears(
        factories.route_changed(spec=factories.spec(labels=labels, review={"rate": 1.0})),
        by_reference(
            review,
            tuple(Message(role="user", content=f"turn {n}") for n in range(10_000)),
            "label 7" * 1000,
        ),
        factories.inference(messages=()),
    )
    async with visitor(review) as client:
        ada = await at_the_pages(review, client)
        page = await ada.next()
        assert "turn 9999<" in page.text and "turn 1<" not in page.text
        assert f"{10_000 - MOST_MESSAGES:,} earlier messages" in page.text
        assert "No message was recorded" in (await ada.skip(page)).text


async def test_a_route_that_changed_its_task_or_has_an_odd_schema(review: Review) -> None:
    await review.hears(
        factories.route_changed(spec=factories.spec(review={"rate": 1.0})),
        factories.inference(),
        factories.inference(),
    )
    async with visitor(review) as client:
        ada = await at_the_pages(review, client)
        page = await ada.next()
        assert 'id="labels"' in page.text
        odd = EXTRACTION.model_copy(update={"output_schema": RECURSIVE | {"$ref": "#"}})
        await review.hears(factories.route_changed(spec=odd, version=99))
        page = await ada.skip(page)
        assert "<textarea" in page.text and "It cannot be approved" in page.text


def blob_of(review: Review) -> Path:
    (blob,) = Path(review.service.settings.artifacts_url.removeprefix("file://")).rglob("*.json")
    return blob


def take_away(review: Review) -> None:
    blob_of(review).unlink()


def change(review: Review) -> None:
    blob_of(review).write_text("{}")


def hide_behind_a_folder(review: Review) -> None:
    blob = blob_of(review)
    blob.unlink()
    blob.mkdir()


TROUBLES = {
    "it is missing from the artifacts store": take_away,
    "it was changed in the artifacts store": change,
    "the artifacts store did not give it (IsADirectoryError)": hide_behind_a_folder,
}


@pytest.mark.parametrize("words", TROUBLES)
async def test_content_that_cannot_be_had_is_said_and_skipped_for_an_hour(
    reviewing_all: Review, words: str
) -> None:
    review = reviewing_all
    await review.hears(by_reference(review, factories.USER, "delivery"), factories.inference())
    TROUBLES[words](review)
    async with visitor(review) as client, review.client() as api:
        ada = await at_the_pages(review, client)
        first = await ada.next()
        poison = shown(first)
        assert words in first.text and 'data-key="r"' not in first.text
        refused = await api.post(f"/v1/items/{poison}/verdict", json={"verdict": "rejected"})
        assert (refused.status_code, refused.json()["error"]) == (409, "ContentHidden")
        second = await ada.skip(first)
        assert shown(second) not in (None, poison)
        form = {"csrf": token(second), "verdict": "approved"}
        await client.post(f"/review/{shown(second)}/verdict", data=form)
        # Nothing else is left, and it does not come back at once: neither here nor to a program.
        empty = await ada.next()
        assert shown(empty) is None and "content cannot be shown" in empty.text
        assert "content cannot be shown" in (await client.get("/queue")).text
        assert (await api.post("/v1/queue/next")).status_code == 204
        queue = (await api.get("/v1/queue")).json()
        assert [(one["state"], bool(one["back_at"])) for one in queue["items"]] == [
            ("put_off", True)
        ]
        assert (await api.get("/v1/stats")).json()["put_off"] == 1
        await an_hour_passes(review)
        assert (await api.post("/v1/queue/next")).json()["item_id"] == poison


async def test_a_program_that_releases_such_an_item_gets_another_one(
    reviewing_all: Review,
) -> None:
    review = reviewing_all
    await review.hears(by_reference(review, factories.USER, "delivery"))
    take_away(review)
    async with review.client() as api:
        item = (await api.post("/v1/queue/next")).json()
        assert item["trouble"] == "it is missing from the artifacts store"
        assert (item["messages"], item["approvable"]) == ([], False)
        assert (await api.post(f"/v1/items/{item['item_id']}/release")).status_code == 204
        assert (await api.post("/v1/queue/next")).status_code == 204


async def an_hour_passes(review: Review) -> None:
    items = review.service.metadata.tables["items"]
    async with review.service.db.transaction() as tx:
        await tx.execute(
            update(items)
            .where(items.c.claimed_until > 0)
            .values(claimed_until=items.c.claimed_until - 3600)
        )


@pytest.mark.parametrize("packed", [b"not zlib", None, b"x\x9c\x03\x00\x00\x00\x00\x01"])
async def test_a_row_that_cannot_be_read_holds_up_nobody(
    reviewing_all: Review, packed: bytes | None
) -> None:
    review = reviewing_all
    await review.hears(factories.inference(), factories.inference())
    items = review.service.metadata.tables["items"]
    first = min(row.item_id for row in await review.items())
    async with review.service.db.transaction() as tx:
        await tx.execute(update(items).where(items.c.item_id == first).values(asked=packed))
    async with visitor(review) as client, review.client() as api:
        ada = await at_the_pages(review, client)
        page = await ada.next()
        assert shown(page) == first and "cannot be read" in page.text
        assert shown(await ada.skip(page)) not in (None, first)
        queue = (await api.get("/v1/queue")).json()["items"]
        assert {item["item_id"]: bool(item["trouble"]) for item in queue}[first]
        async with review.service.db.transaction() as tx:
            decided = {"state": "done", "verdict": "rejected", "reviewer": "acme-all"}
            await tx.execute(update(items).where(items.c.item_id == first).values(decided))
            await tx.execute(update(items).values(done_at=1.0))
        assert "cannot be read" in (await client.get("/history")).text


@pytest.mark.parametrize("state", ['{"of": "a newer release"}', None])
async def test_a_route_that_is_gone_or_cannot_be_read_holds_up_nobody(
    reviewing_all: Review, state: str | None
) -> None:
    review = reviewing_all
    await review.hears(factories.inference())
    routes = review.service.metadata.tables["routes"]
    change = update(routes).values(state=state) if state else delete(routes)
    async with review.service.db.transaction() as tx:
        await tx.execute(change)
    async with review.client() as api, visitor(review) as client:
        page = await (await at_the_pages(review, client)).next()
        assert "its route is not known here" in page.text
        item = (await api.get(f"/v1/items/{shown(page)}")).json()
        assert item["trouble"] and item["task"] is None
        assert (await api.post(f"/v1/items/{item['item_id']}/release")).status_code == 204


@pytest.mark.parametrize("template", ["work.html", "choices.html"])
async def test_a_template_that_fails_leaves_the_page_and_skip(
    reviewing_all: Review, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    review = reviewing_all
    await review.hears(factories.inference(), factories.inference())
    get = rendering.TEMPLATES.get_template
    broken = rendering.TEMPLATES.from_string("{{ nobody_knows }}")
    monkeypatch.setattr(
        rendering.TEMPLATES,
        "get_template",
        lambda name, *more: broken if name == template else get(name, *more),
    )
    async with visitor(review) as client:
        ada = await at_the_pages(review, client)
        page = await ada.next()
        assert "this page cannot show what it is (UndefinedError)" in page.text
        assert shown(await ada.skip(page)) not in (None, shown(page))


async def test_a_store_that_does_not_answer_costs_ten_seconds_at_most(
    reviewing_all: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = reviewing_all
    await review.hears(by_reference(review, factories.USER, "delivery"))
    monkeypatch.setattr("services.review.desk.CONTENT_SECONDS", 0.2)
    monkeypatch.setattr(BlobStore, "get_bytes", lambda *_: time.sleep(1.0))
    async with review.client() as api:
        item = (await api.post("/v1/queue/next")).json()
        assert item["trouble"] == "the artifacts store did not give it (TimeoutError)"


async def test_a_view_that_cannot_be_written_is_answered_without_its_content(
    reviewing_all: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = reviewing_all
    await review.hears(factories.inference())
    find = Desk._with_content

    async def with_surrogate(self: Desk, card: Any) -> Any:
        card = await find(self, card)
        exchange = card.item.exchange.model_copy(update={"answer": "\ud800"})
        return replace(card, item=replace(card.item, exchange=exchange))

    monkeypatch.setattr(Desk, "_with_content", with_surrogate)
    async with review.client() as api, visitor(review) as client:
        item = (await api.post("/v1/queue/next")).json()
        assert "cannot be written" in item["trouble"]
        page = await (await at_the_pages(review, client)).next()
        assert shown(page) == item["item_id"]


async def test_a_claim_of_a_reviewer_who_left_ends_by_time(reviewing_all: Review) -> None:
    review = reviewing_all
    bob = add_key(review, "bob", "acme", {"review"})
    await review.hears(by_reference(review, factories.USER, "delivery"))
    take_away(review)
    async with review.client() as ada, review.client(secret=bob) as other:
        held = (await ada.post("/v1/queue/next")).json()["item_id"]
        assert (await other.post("/v1/queue/next")).status_code == 204
        await an_hour_passes(review)
        assert (await other.post("/v1/queue/next")).json()["item_id"] == held


async def test_an_answer_with_nul_is_decided_or_refused_in_words(review: Review) -> None:
    free = factories.spec(task="summarisation", labels=(), review={"rate": 1.0})
    await review.hears(factories.route_changed(spec=free), factories.inference(answer="a\x00b"))
    async with review.client() as api:
        item = (await api.post("/v1/queue/next")).json()["item_id"]
        approved = await api.post(f"/v1/items/{item}/verdict", json={"verdict": "approved"})
        assert approved.status_code == 422 and "U+0000" in approved.json()["detail"]
        right = {"verdict": "corrected", "answer": "a b"}
        assert (await api.post(f"/v1/items/{item}/verdict", json=right)).status_code == 200
        assert json.loads((await api.get(f"/v1/items/{item}")).text)["verdict"] == "corrected"

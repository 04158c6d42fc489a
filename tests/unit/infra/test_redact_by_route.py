"""`ratchet redact` leaves what a route does not redact, and nothing of it on other routes."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.operations.redaction import Contents, stale_datasets, stale_files
from infra.operations.redaction.files import CONTEST, LOST
from infra.operations.redaction.walks import Cleaner
from schemas.base import Attempt, BlobRef, JsonObject, Message
from schemas.events import InferenceRecorded
from shared.rules import read_content, store_content
from tests import factories
from tests.stored import Home

PLAIN = "acme/plain"
SAID = "call +1 (415) 555‑2671 or a@example.com"
# By route; mail is redacted on both.
LEFT = {factories.ROUTE: SAID.replace("a@example.com", "[EMAIL]"), PLAIN: "call [PHONE] or [EMAIL]"}
TURNS = json.dumps([{"role": "user", "content": SAID}], ensure_ascii=False)


def state(route: str, **personal: str) -> str:
    spec: JsonObject = {"personal": personal} if personal else {}
    return json.dumps({"route": route, "spec": spec})


async def add(home: Home, service: str) -> None:
    """Add a service that knows both routes."""
    await home.add(service, f"sqlite+aiosqlite:///{home.folder}/{service}.db")
    for route, personal in ((factories.ROUTE, {"phone": "surrogate"}), (PLAIN, {})):
        await home.insert(service, "routes", route=route, version=2, state=state(route, **personal))


async def by_route(home: Home, service: str, table: str, column: str) -> dict[str, Any]:
    rows = await home.columns(service, table, "route", column)
    return {row.route: getattr(row, column) for row in rows}


async def test_rows_are_redacted_as_their_route_wants_it(home: Home) -> None:
    await add(home, "dataset-builder")
    for number, route in enumerate(LEFT):
        values = {"review_id": str(number), "messages": TURNS, "answer": SAID}
        await home.insert("dataset-builder", "verdicts", route=route, **values)
        await home.insert(
            "dataset-builder", "feedback", feedback_id=str(number), route=route, text=SAID
        )
        order = {"route": route, "because": SAID}
        await home.insert(
            "dataset-builder", "jobs", job_id=route, key=route, route=route, payload=order
        )
    found, _ = await home.redact()
    assert await by_route(home, "dataset-builder", "verdicts", "answer") == LEFT
    assert await by_route(home, "dataset-builder", "feedback", "text") == LEFT
    messages = await by_route(home, "dataset-builder", "verdicts", "messages")
    assert {route: json.loads(each)[0]["content"] for route, each in messages.items()} == LEFT
    orders = await by_route(home, "dataset-builder", "jobs", "payload")
    assert {route: order["because"] for route, order in orders.items()} == LEFT
    here = ("dataset-builder", "verdicts", "answer")
    assert (found.finds[*here, "PHONE"], found.finds[*here, "EMAIL"]) == (1, 2)


async def test_events_say_whose_they_are(home: Home) -> None:
    await add(home, "router")
    for route in LEFT:
        event = InferenceRecorded(
            **factories.COMMON | {"route": route},
            inference_id=route,
            messages=(Message(role="user", content=SAID),),
            answer=SAID,
            arm="base",
            model="base",
            attempts=(Attempt(arm="base", model="base", answer=SAID, latency_ms=1.5),),
        )
        await home.insert("router", "decisions", inference_id=route, event=event.model_dump_json())
        await home.insert("router", "outbox", payload=event.model_dump_json().encode())
    await home.redact()
    for table, column in (("decisions", "event"), ("outbox", "payload")):
        for (stored,) in await home.columns("router", table, column):
            event = InferenceRecorded.model_validate_json(stored)
            texts = {event.answer, event.attempts[0].answer, event.messages[0].content}
            assert texts == {LEFT[event.route]}, table


async def test_the_newest_state_of_a_route_counts(home: Home) -> None:
    await add(home, "dataset-builder")
    await home.add("evaluator", f"sqlite+aiosqlite:///{home.folder}/evaluator.db")
    newer = {"route": factories.ROUTE, "version": 3, "state": state(factories.ROUTE)}
    await home.insert("evaluator", "routes", **newer)
    await home.insert("dataset-builder", "feedback", route=factories.ROUTE, text=SAID)
    await home.redact()
    assert await home.column("dataset-builder", "feedback", "text") == LEFT[PLAIN]


async def test_content_that_two_routes_share_is_kept_for_one(home: Home) -> None:
    await add(home, "dataset-builder")
    asked = Message(role="user", content=SAID.partition(" or")[0])
    ref = store_content(home.blobs, (asked,), "x")
    for number, route in enumerate(LEFT):
        await home.insert(
            "dataset-builder",
            "verdicts",
            review_id=str(number),
            route=route,
            messages=ref.model_dump_json(),
        )
    _, contents = await home.redact()
    for route, left in LEFT.items():
        stored = (await by_route(home, "dataset-builder", "verdicts", "messages"))[route]
        content = await read_content(home.blobs, BlobRef.model_validate_json(stored))
        assert content.messages[0].content == left.split(" or")[0]
    assert contents.needed == {ref.uri}


@pytest.mark.parametrize(("kinds", "finds"), [(("PHONE", "EMAIL"), {}), ((), {"PHONE": 1})])
async def test_datasets_are_looked_at_as_their_route_wants_it(
    home: Home, kinds: tuple[str, ...], finds: dict[str, int]
) -> None:
    built = await home.add_dataset({"messages": [TURNS], "answer": ["x"]})
    cleaner = Cleaner(Contents(home.artifacts, write=False), {built.route: kinds})
    found = await stale_datasets(home.urls, cleaner, lambda *_: None)
    assert [one.finds.get("PHONE") for one in found] == list(finds.values())


async def test_files_of_contests_and_refused_builds_are_named(home: Home) -> None:
    await home.add("evaluator", f"sqlite+aiosqlite:///{home.folder}/evaluator.db")
    await add(home, "dataset-builder")
    lost = io.BytesIO()
    pq.write_table(pa.table({"messages": [TURNS], "answer": [SAID]}), lost)
    file = home.blobs.put_bytes(lost.getvalue(), "lost", ".parquet")
    shown = home.blobs.put_bytes(
        json.dumps({"rows": [{SAID: [SAID]}]}).encode(), "contests", ".json"
    )
    group = {"answers": {SAID: 2}, "pairs": [{"review_id": "1", "answer": SAID, "twin": "2"}]}
    refusal = {"detail": SAID, "lost": file.model_dump(), "clusters": [group], "spec": {}}
    for route in LEFT:
        contest = json.dumps({"content": shown.model_dump()})
        await home.insert("evaluator", "contests", route=route, contest=contest)
        await home.insert("dataset-builder", "builds", route=route, refusal=json.dumps(refusal))
    await home.redact()
    for route, refused in (await by_route(home, "dataset-builder", "builds", "refusal")).items():
        kept = json.loads(refused)
        [pair] = kept["clusters"][0]["pairs"]
        assert (kept["detail"], pair["answer"]) == (LEFT[route], LEFT[route])
        assert (kept["clusters"][0]["answers"], kept["lost"]) == ({LEFT[route]: 2}, refusal["lost"])
    cleaner = Cleaner(Contents(home.artifacts, write=False), {factories.ROUTE: ["PHONE"]})
    found = {(one.of, one.route): one.finds for one in await stale_files(home.urls, cleaner)}
    both = {"EMAIL": 2, "PHONE": 2}
    assert found == {
        (CONTEST, factories.ROUTE): {"EMAIL": 2},
        (CONTEST, PLAIN): both,
        (LOST, factories.ROUTE): {"EMAIL": 2},
        (LOST, PLAIN): both,
    }

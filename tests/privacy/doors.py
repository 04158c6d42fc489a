"""What is sent to every door, with the marker in each string that it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer

from tests.faults.evidence import query
from tests.rollouts.story import Story

MARKER = "zoe.marker@leak.example"
MAPPINGS = """
topic: shop.asked
route: ROUTE
id: /id
fields: {messages: /messages, answer: /answer, model: /model, metadata: {from: /about}}
---
topic: shop.judged
route: ROUTE
records: feedback
id: /id
fields: {inference_id: /inference_id, rating: /rating, correction: /said, comment: /comment}
"""


def map_topics(file: Path, route: str) -> Path:
    """Write down what an app's own records hold where."""
    file.write_text(MAPPINGS.replace("ROUTE", route))
    return file


def marked(place: str) -> str:
    return f"{place} {MARKER}"


def chat(route: str) -> dict[str, Any]:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "look_up", "arguments": json.dumps({marked("key"): marked("value")})},
    }
    return {
        "model": route,
        "messages": [
            {"role": "system", "content": marked("system"), "name": MARKER},
            {"role": "user", "content": [{"type": "text", "text": marked("part")}], "name": MARKER},
            {"role": "assistant", "content": marked("assistant"), "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": marked("tool")},
            {"role": "user", "content": f"my parcel is late, {marked('case 7')}"},
        ],
        "user": marked("user"),
        "metadata": {"from": marked("metadata"), MARKER: "name", "session": MARKER},
    }


def inference(route: str, number: int) -> dict[str, Any]:
    return {
        "route": route,
        "client_id": f"{number}-{MARKER}",
        "model": marked("model"),
        "messages": [
            {"role": "user", "content": marked("question"), "name": MARKER},
            {"role": "tool", "content": marked("result"), "tool_call_id": MARKER},
        ],
        "answer": json.dumps({"to": MARKER, MARKER: 1}),
        "metadata": {"from": marked("metadata"), MARKER: "name", "user": MARKER},
    }


def feedback(inference_id: str) -> dict[str, Any]:
    return {
        "client_id": MARKER,
        "inference_id": inference_id,
        "rating": 0,
        "correction": marked("correction"),
        "comment": marked("comment"),
    }


def record(inference_id: str) -> dict[str, list[Any]]:
    """Return records of an app's own topics; the last of each is none that capture can take."""
    asked = {"id": MARKER, "about": marked("about"), **inference("", 9)}
    judged = {"id": MARKER, "inference_id": inference_id, "rating": 0, "comment": MARKER}
    return {
        "shop.asked": [asked, {"id": MARKER, "messages": marked("no list")}],
        "shop.judged": [judged | {"said": marked("right")}, judged | {"rating": marked("none")}],
    }


async def said_over_http(story: Story) -> list[httpx.Response]:
    """Send the marker through every door of the services; return what they answered."""
    url = f"{story.world.urls['router']}/v1/chat/completions"
    key = {"idempotency-key": MARKER, "user-agent": MARKER, "x-request-id": MARKER}
    said = [await story.client.post(url, json=chat(story.route), headers=key)]
    plain = {"model": story.route, "user": MARKER, "metadata": {MARKER: marked("value")}}
    asked = {"input": marked("input"), "instructions": marked("instructions")}
    said.append(await story.call("router", "/v1/responses", plain | asked))
    body = {"inferences": [inference(story.route, number) for number in range(3)]}
    url = f"{story.world.urls['capture']}/v1/inferences"
    # It has heard of the route a moment later.
    said.append(
        await story.until(
            lambda: story.client.post(url, json=body), lambda answer: answer.status_code == 202
        )
    )
    given = said[0].json()["ratchet"]["inference_id"]
    said.append(await story.call("capture", "/v1/feedback", {"feedback": [feedback(given)]}))
    for _ in range(2):
        claimed = await story.until(
            lambda: story.call("review", "/v1/queue/next", {"route": story.route}),
            lambda answer: answer.status_code == 200,
        )
        verdict = {"verdict": "corrected", "answer": marked("right")}
        path = f"/v1/items/{claimed.json()['item_id']}/verdict"
        said += [claimed, await story.call("review", path, verdict)]
    path = f"/v1/routes/{story.route}"
    said.append(
        await story.call("dataset-builder", f"{path}/datasets", {"reason": marked("reason")})
    )
    rolled_back = {"to": "base", "because": marked("because")}
    said.append(await story.call("router", f"{path}/rollback", rolled_back))
    return said


async def said_on_topics(story: Story, inference_id: str) -> None:
    """Send the marker on an app's own topics, and wait until capture has read them."""
    taken, _ = await counts(story)
    async with AIOKafkaProducer(bootstrap_servers=story.world.servers) as producer:
        for topic, values in record(inference_id).items():
            for value in values:
                await producer.send(topic, json.dumps(value).encode(), key=MARKER.encode())
        await producer.flush()

    await story.until(lambda: counts(story), lambda found: found == [taken + 2, 2])


async def counts(story: Story) -> list[int]:
    """Return how many items capture has taken, and how many it could not take."""
    count = "select count(*) as n from "
    database = story.world.databases["capture"]
    found = await query(database, f"{count} ledger", f"{count} dead_letters")
    return [rows[0]["n"] for rows in found]

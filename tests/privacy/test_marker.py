"""An address in every string that an API takes: it is in no table, event, file, log or answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import World
from tests.kafka import Broker
from tests.rollouts.cast import Part, Role
from tests.rollouts.stages import running
from tests.rollouts.story import Story

NewWorld = Callable[..., World]

MARKER = "zoe.marker@leak.example"


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


async def everything_is_said(story: Story) -> list[str]:
    """Send the marker through every door; return what the services answered."""
    said = [await story.call("router", "/v1/chat/completions", chat(story.route))]
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
    reason = {"reason": marked("reason")}
    path = f"/v1/routes/{story.route}/datasets"
    said.append(await story.call("dataset-builder", path, reason))
    return [answer.text for answer in said]


def files_that_hold(folder: Path, marker: str) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and marker.encode() in path.read_bytes():
            yield str(path.relative_to(folder))


@pytest.mark.timeout(300)
async def test_the_marker_is_nowhere(embedded: Broker, new_world: NewWorld) -> None:
    world = new_world(embedded.servers)
    roles = {"route": (Role(Part(), Part()),)}
    async with running(world, roles) as stages:
        story = stages.story("route")
        await story.begin(task="conversation", labels=[], max_tokens=64)
        said = await everything_is_said(story)
        await asyncio.sleep(3)
        assert not [text for text in said if MARKER in text]
    assert not list(files_that_hold(world.folder, MARKER))
    assert list(files_that_hold(world.folder, "[EMAIL]")), "what stands in its place is found"

"""Several answers to one question."""

from __future__ import annotations

from typing import Any

import pytest

from tests import factories
from tests.unit.router.conftest import Running

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
CHAT = factories.spec(task="conversation", labels=(), max_tokens=200)


@pytest.mark.parametrize(
    ("body", "sent", "ignored"),
    [
        ({}, {"temperature": 1.0}, []),
        ({"temperature": 0}, {"temperature": 1.0}, ["temperature"]),
        (
            {"temperature": 0.7, "top_p": 0.9, "seed": 7},
            {"temperature": 0.7, "top_p": 0.9, "seed": 7},
            [],
        ),
        ({"presence_penalty": 1}, {"temperature": 1.0}, ["presence_penalty"]),
        ({"stop": "END"}, {"temperature": 1.0, "stop": ["END"]}, []),
    ],
)
async def test_every_answer_is_given_and_none_is_lost(
    router: Running, body: dict, sent: dict, ignored: list
) -> None:
    await router.create(CHAT)
    answer = (await router.chat(n=3, logprobs=True, **body)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    said = [choice["message"]["content"] for choice in answer["choices"]]
    assert said == ["delivery", "delivery 1", "delivery 2"]
    assert all(choice["logprobs"]["content"] for choice in answer["choices"])
    [asked] = router.vllm.asked
    assert asked["n"] == 3 and asked | sent == asked
    assert answer["ratchet"]["ignored"] == ignored
    assert answer["ratchet"]["confidence"] is None, "nothing was calibrated on drawn answers"
    [event] = await router.events("InferenceRecorded")
    assert event["answer"] == "delivery"
    assert event["attempts"][0]["alternatives"] == said[1:]


async def test_one_answer_is_as_before(router: Running) -> None:
    await router.create(CHAT)
    answer = (await router.chat(n=1, temperature=0.7)).json()
    assert answer["ratchet"]["ignored"] == ["temperature"]
    assert router.vllm.asked[0]["temperature"] == 0 and "n" not in router.vllm.asked[0]
    assert "alternatives" not in (await router.events("InferenceRecorded"))[0]["attempts"][0]


@pytest.mark.parametrize(
    "spec",
    [
        factories.spec(),
        factories.spec(task="extraction", labels=()),
        factories.spec(task="format", labels=()),
    ],
)
async def test_a_route_with_one_answer_refuses(router: Running, spec: Any) -> None:
    await router.create(spec)
    refused = await router.chat(n=2)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "n"
    assert "send n=1" in refused.text


async def test_alternatives_are_redacted_too(router: Running) -> None:
    router.vllm.answers = lambda *_: ("Write to jane.doe@example.com", -0.1)
    await router.create(CHAT)
    await router.chat(n=2)
    [event] = await router.events("InferenceRecorded")
    assert event["attempts"][0]["alternatives"] == ["Write to [EMAIL] 1"]


async def test_streams_and_older_completions_tell_all(router: Running) -> None:
    await router.create(CHAT)
    said: dict[int, str] = {}
    async with router.openai() as client:
        async for chunk in await client.chat.completions.create(
            model=factories.ROUTE,
            messages=QUESTION,
            n=2,
            stream=True,
            stream_options={"include_usage": True},
        ):
            for choice in chunk.choices:
                said[choice.index] = said.get(choice.index, "") + (choice.delta.content or "")
            last = chunk
        older = await client.completions.create(model=factories.ROUTE, prompt="Hi", n=2)
    assert said == {0: "delivery", 1: "delivery 1"} and last.usage
    assert [choice.text for choice in older.choices] == ["delivery", "delivery 1"]

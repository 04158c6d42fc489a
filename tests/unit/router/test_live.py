"""Streams that begin with the first token."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from services.router import gateway, streaming
from services.router.rollout import Pick
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
TEXT = "It arrives tomorrow,\n between nine and ten — 明日."
LIVE = factories.spec(task="conversation", labels=(), max_tokens=200, stream="live")


async def begun(router: Running, client: openai.AsyncOpenAI, **body: Any) -> tuple[Any, str]:
    """Return a stream and the first text of it."""
    parts = await client.chat.completions.create(
        **{"model": factories.ROUTE, "messages": QUESTION, "stream": True} | body
    )
    async for chunk in parts:
        if chunk.choices[0].delta.content:
            return parts, chunk.choices[0].delta.content
    raise AssertionError("nothing came")


@pytest.fixture
async def live(router: Running) -> Running:
    router.vllm.answers = lambda *_: (TEXT, -0.1)
    await router.create(LIVE)
    return router


async def promoted(live: Running) -> str:
    """Return the id of a champion, which was proven by what the probe asks."""
    live.vllm.answers = lambda model, _: ("delivery", -0.2 if model == "base" else -0.05)
    adapter = live.adapter()
    await live.promote(adapter)
    live.vllm.answers = lambda *_: (TEXT, -0.1)
    return adapter.adapter_id


async def test_the_first_token_is_there_before_the_last_is_made(live: Running) -> None:
    live.vllm.goes_on = asyncio.Event()
    async with live.openai() as client:
        options = {"include_usage": True}
        parts, first = await begun(live, client, stream_options=options, logprobs=True)
        assert first == "It"
        live.vllm.goes_on.set()
        rest = [chunk async for chunk in parts]
    said = [chunk.choices[0].delta.content or "" for chunk in rest if chunk.choices]
    assert first + "".join(said) == TEXT
    *_, last, usage = rest
    assert last.choices[0].finish_reason == "stop"
    verdict = last.model_extra["ratchet"]
    assert (verdict["inference_id"], verdict["outcome"]) == (last.id, "unsure")
    assert usage.usage.total_tokens == 12
    assert rest[0].choices[0].logprobs.content[0].logprob == -0.1
    [event] = await live.events("InferenceRecorded")
    assert (event["inference_id"], event["answer"]) == (last.id, TEXT)
    assert "cut" not in event and live.vllm.asked[0]["stream_options"] == options


async def test_a_buffered_route_tells_nothing_before_the_answer_is_there(router: Running) -> None:
    """The control: the same engine, and no piece of it."""
    router.vllm.answers = lambda *_: (TEXT, -0.1)
    await router.create(LIVE.model_copy(update={"stream": "buffered"}))
    router.vllm.slow["base"] = 1.0
    async with router.openai() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await begun(router, client)
    assert "stream" not in router.vllm.asked[0]


async def test_the_champion_is_not_asked_again_after_its_first_token(live: Running) -> None:
    champion = await promoted(live)
    async with live.openai() as client:
        parts, _ = await begun(live, client)
        last = [chunk async for chunk in parts][-1]
    verdict = last.model_extra["ratchet"]
    assert (verdict["arm"], verdict["outcome"]) == ("champion", "unsure")
    assert [body["model"] for body in live.vllm.asked if body.get("stream")] == [champion]


async def test_before_its_first_token_the_base_model_stands_in(live: Running) -> None:
    champion = await promoted(live)
    live.vllm.fail_chat[champion] = (500, "out of memory")
    async with live.openai() as client:
        parts, first = await begun(live, client)
        last = [chunk async for chunk in parts][-1]
    assert first == "It" and last.model_extra["ratchet"]["arm"] == "base"


@pytest.mark.parametrize("says_why", [True, False])
async def test_an_engine_that_breaks_off_ends_the_stream_with_an_error(
    live: Running, says_why: bool
) -> None:
    await promoted(live)
    live.vllm.breaks_after, live.vllm.says_why = 2, says_why
    async with live.openai() as client:
        parts, _ = await begun(live, client)
        with pytest.raises(openai.APIError, match="failed with 50"):
            [chunk async for chunk in parts]
    [event] = await live.events("InferenceRecorded")
    assert (event["answer"], event["cut"], event["arm"]) == ("It arrives", True, "champion")
    assert await live.events("ReviewRequested") == []
    async with live.service.db.read() as connection:
        table = live.service.parts.routes.tables.decisions
        [row] = await connection.execute(table.select().where(table.c.event.is_not(None)))
    assert row.failed, "a failed attempt of the champion's"


async def test_who_leaves_stops_the_engine_and_the_part_is_kept(live: Running) -> None:
    live.vllm.goes_on = asyncio.Event()
    async with live.openai() as client:
        parts, _ = await begun(live, client)
        await parts.close()
    await until(lambda: live.vllm.abandoned == ["base"])
    for _ in range(100):
        if events := await live.events("InferenceRecorded"):
            break
        await asyncio.sleep(0.05)
    assert (events[0]["answer"], events[0]["cut"], events[0]["outcome"]) == ("It", True, "unsure")
    assert await live.events("ReviewRequested") == []


@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "find"}}]},
        {"extra_headers": {"Idempotency-Key": "one"}},
    ],
)
async def test_what_is_not_one_text_is_judged_as_a_whole(live: Running, body: dict) -> None:
    async with live.openai() as client:
        parts, first = await begun(live, client, **body)
        rest = [chunk async for chunk in parts]
    assert first == "It" and rest[-1].model_extra["ratchet"]["outcome"] == "unsure"
    assert all("stream" not in asked for asked in live.vllm.asked)


async def test_a_challenger_is_never_live(live: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    picked = Pick("challenger", await promoted(live))
    monkeypatch.setattr(gateway, "pick_arm", lambda *_: picked)
    async with live.openai() as client:
        parts, first = await begun(live, client)
        [chunk async for chunk in parts]
    assert first == "It"
    asked = [body for body in live.vllm.asked if body["messages"][-1] == QUESTION[0]]
    assert asked and all("stream" not in body for body in asked)


async def test_comments_bridge_what_an_engine_takes_to_go_on(
    live: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "COMMENT_SECONDS", 0.1)
    live.vllm.goes_on = asyncio.Event()
    request = {"model": factories.ROUTE, "messages": QUESTION, "stream": True}
    asyncio.get_running_loop().call_later(0.5, live.vllm.goes_on.set)
    async with (
        live.http() as http,
        http.stream("POST", "/v1/chat/completions", json=request) as response,
    ):
        sent = [line async for line in response.aiter_lines() if line]
        assert response.headers["x-ratchet-inference-id"]
    assert sum(line.startswith(":") for line in sent) >= 2 and sent[-1] == "data: [DONE]"


async def test_other_doors_are_live_too(live: Running) -> None:
    live.vllm.goes_on = asyncio.Event()
    async with live.openai() as client:
        stream = await client.responses.create(model=factories.ROUTE, input="Hi", stream=True)
        events = []
        async for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta":
                live.vllm.goes_on.set()
        live.vllm.goes_on = asyncio.Event()
        text = ""
        async for chunk in await client.completions.create(
            model=factories.ROUTE, prompt="Hi", stream=True
        ):
            text += chunk.choices[0].text
            live.vllm.goes_on.set()
    assert text == TEXT
    assert [event.sequence_number for event in events] == list(range(len(events)))
    done = next(event for event in events if event.type == "response.output_text.done")
    assert done.text == TEXT == events[-1].response.output_text
    assert events[-1].response.model_extra["ratchet"]["outcome"] == "unsure"


async def test_a_label_may_be_live(router: Running) -> None:
    await router.create(factories.spec(stream="live"))
    async with router.openai() as client:
        _, first = await begun(router, client)
    assert first == "delivery"
    [asked] = router.vllm.asked
    assert asked["structured_outputs"]["choice"] == ["delivery", "refund", "password"]

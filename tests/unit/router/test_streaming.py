"""Streams as OpenAI's own client reads them, and as proxies and browsers see them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from services.router import streaming
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
TEXT = "Ihre Sendung kommt\nmorgen — 明日到着します。 " + "lang" * 30 + "  "
SUMMARY = factories.spec(task="summarisation", labels=(), max_tokens=200)


async def lines(router: Running, **body: Any) -> tuple[Any, list[str]]:
    request = {"model": factories.ROUTE, "messages": QUESTION, "stream": True} | body
    async with (
        router.http() as http,
        http.stream("POST", "/v1/chat/completions", json=request) as response,
    ):
        return response, [line async for line in response.aiter_lines() if line]


async def test_the_official_client_reads_the_same_answer(router: Running) -> None:
    router.vllm.answers = lambda *_: (TEXT, -0.1)
    await router.create(SUMMARY)
    async with router.openai() as client:
        whole = await client.chat.completions.create(model=factories.ROUTE, messages=QUESTION)
        parts = await client.chat.completions.create(
            model=factories.ROUTE,
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in parts]
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == whole.choices[0].message.content == TEXT.strip()
    assert sum(1 for piece in said if piece) > 3, "a stream in pieces"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    *_, last, usage = chunks
    assert last.choices[0].finish_reason == "stop"
    assert last.model_extra["ratchet"]["inference_id"] == last.id
    assert (usage.choices, usage.usage.total_tokens) == ([], 12)
    assert all(chunk.usage is None for chunk in chunks[:-1])
    recorded = await router.events("InferenceRecorded")
    assert [one["answer"] for one in recorded] == [TEXT.strip()] * 2


async def test_it_ends_as_clients_expect_and_no_proxy_gathers_it(router: Running) -> None:
    await router.create()
    response, sent = await lines(router)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-ratchet-outcome"] == "unsure"
    assert sent[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in sent)
    assert "usage" not in json.loads(sent[0].removeprefix("data: "))


async def test_log_probabilities_come_along(router: Running) -> None:
    await router.create()
    async with router.openai() as client:
        whole = await client.chat.completions.create(
            model=factories.ROUTE, messages=QUESTION, logprobs=True, top_logprobs=1
        )
        parts = await client.chat.completions.create(
            model=factories.ROUTE, messages=QUESTION, logprobs=True, stream=True
        )
        streamed = [chunk.choices[0].logprobs async for chunk in parts]
    [first, *_] = whole.choices[0].logprobs.content
    assert (first.token, first.logprob, len(first.top_logprobs)) == ("delivery", -0.2, 1)
    [found] = [one for one in streamed if one]
    assert (found.content[0].logprob, found.content[0].top_logprobs) == (-0.2, [])


async def test_a_refusal_before_the_stream_is_a_status(router: Running) -> None:
    await router.create()
    async with router.openai() as client:
        for body in ({"model": "acme/nothing"}, {"n": 3}):
            request = {"model": factories.ROUTE, "messages": QUESTION, "stream": True} | body
            with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
                await client.chat.completions.create(**request)


async def test_comments_keep_a_slow_stream_open(
    router: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "COMMENT_SECONDS", 0.2)
    router.vllm.slow["base"] = 2.0
    await router.create()
    _, sent = await lines(router)
    assert sent.count(": the answer is being judged") >= 3
    assert sent[-1] == "data: [DONE]"
    router.vllm.fail_chat["base"] = (500, "out of memory")
    async with router.openai() as client:
        parts = await client.chat.completions.create(
            model=factories.ROUTE, messages=QUESTION, stream=True
        )
        with pytest.raises(openai.APIError, match="failed with 500"):
            [chunk async for chunk in parts]


async def test_who_leaves_a_stream_stops_the_question(
    router: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "COMMENT_SECONDS", 0.1)
    router.vllm.slow["base"] = None
    await router.create()
    reading = asyncio.create_task(lines(router))
    await until(lambda: len(router.vllm.asked) == 1)
    await asyncio.sleep(0.4)
    reading.cancel()
    await until(lambda: router.vllm.abandoned == ["base"])
    assert await router.events("InferenceRecorded") == []

"""A request that comes again under its key gets the answer of the first, and is one inference."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from sqlalchemy import update

from services.router import streaming
from services.router.app import build
from services.router.settings import Settings
from tests import factories
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import served, until

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]


async def ask(router: Running, key: str | None, **body: Any) -> Any:
    headers = {} if key is None else {"idempotency-key": key}
    async with router.http() as http:
        sent = {"model": factories.ROUTE, "messages": QUESTION} | body
        return await http.post("/v1/chat/completions", json=sent, headers=headers)


async def test_the_same_answer_and_one_inference(router: Running) -> None:
    await router.create()
    first, second = await ask(router, "order-17"), await ask(router, "order-17")
    other, none = await ask(router, "order-18"), await ask(router, None)
    assert first.json() | {"created": 0} == second.json() | {"created": 0}
    assert len({one.json()["id"] for one in (first, other, none)}) == 3
    assert len(router.vllm.asked) == 3 == len(await router.events("InferenceRecorded"))


async def test_ten_at_once_are_one_question(router: Running) -> None:
    router.vllm.slow["base"] = 0.3
    await router.create()
    answers = await asyncio.gather(*(ask(router, "k") for _ in range(10)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(router.vllm.asked) == 1


async def test_who_gave_up_gets_the_answer_by_asking_again(router: Running) -> None:
    """The client waits for 0.4 s and asks again twice; the model needs 0.8."""
    router.vllm.slow["base"] = 0.8
    await router.create()
    async with router.openai() as client:
        patient = client.with_options(timeout=0.4, max_retries=4)
        answer = await patient.chat.completions.create(
            model=factories.ROUTE,
            messages=QUESTION,
            extra_headers={"Idempotency-Key": "k", "x-stainless-read-timeout": "60"},
        )
    assert answer.choices[0].message.content == "delivery"
    assert (len(router.vllm.asked), router.vllm.abandoned) == (1, [])
    [recorded] = await router.events("InferenceRecorded")
    assert recorded["inference_id"] == answer.id


async def test_without_a_key_each_try_is_a_question(router: Running) -> None:
    """The control."""
    router.vllm.slow["base"] = None
    await router.create()
    async with router.openai() as client:
        with pytest.raises(openai.APITimeoutError):
            await client.with_options(timeout=0.4, max_retries=1).chat.completions.create(
                model=factories.ROUTE,
                messages=QUESTION,
                extra_headers={"x-stainless-read-timeout": "60"},
            )
    await until(lambda: len(router.vllm.abandoned) == 2)


async def test_a_stream_comes_again_too(router: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await router.create()
    whole = (await ask(router, "k", stream=True)).text
    assert whole.count("delivery") >= 1 and (await ask(router, "k", stream=True)).text
    monkeypatch.setattr(streaming, "COMMENT_SECONDS", 0.1)
    router.vllm.slow["base"] = 0.5
    leaving = asyncio.create_task(ask(router, "left", stream=True))
    await until(lambda: len(router.vllm.asked) == 2)
    leaving.cancel()
    again = await ask(router, "left", stream=True)
    assert "delivery" in again.text and len(router.vllm.asked) == 2


async def test_another_request_under_the_same_key_is_a_conflict(router: Running) -> None:
    await router.create()
    await ask(router, "k")
    for body in ({"user": "u"}, {"stream": True}, {"messages": [*QUESTION, *QUESTION]}):
        refused = await ask(router, "k", **body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "key_reused")


async def test_keys_of_two_tenants_are_two(router: Running) -> None:
    await router.create()
    await router.create(factories.spec(name="globex/support"))
    first = await ask(router, "k")
    async with router.http("globex") as http:
        sent = {"model": "globex/support", "messages": QUESTION}
        other = await http.post("/v1/chat/completions", json=sent, headers={"idempotency-key": "k"})
    assert other.status_code == 200 and other.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tinside"])
async def test_a_key_that_is_none_is_refused(router: Running, key: str) -> None:
    await router.create()
    refused = await ask(router, key)
    assert refused.status_code == 400 and "Idempotency-Key" in refused.text


async def test_an_error_is_no_answer(router: Running) -> None:
    await router.create()
    router.vllm.fail_chat["base"] = (500, "out of memory")
    assert (await ask(router, "k")).status_code == 503
    router.vllm.fail_chat.clear()
    assert (await ask(router, "k")).status_code == 200


async def test_after_a_restart_it_is_the_same_answer_or_says_which_it_was(
    router: Running, settings: dict[str, Any]
) -> None:
    await router.create()
    clean = (await ask(router, "clean")).json()
    router.vllm.answers = lambda *_: ("Write to jane.doe@example.com", -0.1)
    personal = (await ask(router, "personal")).json()
    asked = len(router.vllm.asked)
    repeats = router.service.parts.routes.tables.repeats
    kept = router.service.settings.vllm_url
    service = build(Settings(**(settings | {"vllm_url": kept})), sender=NoSender())
    async with served(service.api) as url:
        again = Running(service, url, router.vllm, router.secrets, router.blobs, router.folder)
        same, told = await ask(again, "clean"), await ask(again, "personal")
        reused = await ask(again, "clean", user="u")
        assert len(router.vllm.asked) == asked
        assert same.json()["choices"] == clean["choices"]
        assert (same.json()["id"], same.json()["usage"]) == (clean["id"], clean["usage"])
        assert "came before" in same.json()["ratchet"]["note"]
        assert told.status_code == 409 and personal["id"] in told.text
        assert "jane" not in told.text and reused.status_code == 409
    async with router.service.db.transaction() as tx:
        await tx.execute(update(repeats).values(at=1.0))
    service = build(Settings(**(settings | {"vllm_url": kept})), sender=NoSender())
    async with served(service.api) as url:
        later = Running(service, url, router.vllm, router.secrets, router.blobs, router.folder)
        await until(lambda: service.parts.fleet.up)
        fresh = await ask(later, "clean")
    assert fresh.json()["id"] != clean["id"]

"""Whatever a model does, an app gets the best answer there is, and each adapter what it earned."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import openai
import pytest

from services.router import breakers, chain
from services.router.rollout import CanaryRule, Seen
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
SUMMARY = factories.spec(task="summarisation", labels=(), max_tokens=200)
PATIENT = {"vllm_timeout": 20.0}
CANARY = {"canary_requests": 50, "canary_seconds": 20.0, "vllm_timeout": 8.0}


@pytest.fixture
def settings(settings: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    return settings | {"vllm_timeout": 4.0} | getattr(request, "param", {})


async def champion(router: Running, threshold: float = 0.5, base: float | None = None) -> str:
    """A route with a proven, calibrated champion."""
    await router.create()
    await router.promote(router.adapter(), probe=None)
    name: str = router.state().champion.adapter_id
    await until(lambda: router.service.parts.fleet.serving(name))
    await router.handle(factories.calibration(adapter_id=name, threshold=threshold))
    if base is not None:
        await router.handle(factories.calibration(adapter_id=None, threshold=base))
    router.vllm.asked.clear()
    return name


async def counts(router: Running, adapter_id: str) -> tuple[int, int]:
    """Return how many requests an adapter answered or failed, and in how many it failed."""
    routes = router.service.parts.routes
    async with router.service.db.read() as connection:
        asked, failed, _ = await routes.canary_counts(connection, factories.ROUTE, adapter_id)
    return asked, failed


async def gives_up(router: Running, seconds: float) -> None:
    """Ask with a client that leaves after so long, and does not say so before."""
    async with router.openai() as client:
        with pytest.raises(openai.APITimeoutError):
            await client.with_options(timeout=seconds).chat.completions.create(
                model=factories.ROUTE,
                messages=QUESTION,
                extra_headers={"x-stainless-read-timeout": "60"},
            )


# A hang is a failure


async def test_a_hung_champion_leaves_the_base_model_half_of_the_time(router: Running) -> None:
    name = await champion(router, base=0.5)
    router.vllm.slow[name] = None
    began = time.monotonic()
    answer = (await router.chat()).json()
    assert time.monotonic() - began > 1.8
    assert (answer["ratchet"]["arm"], answer["ratchet"]["outcome"]) == ("base", "fell_back")
    assert answer["ratchet"]["note"] == f"{name} did not answer: UpstreamSilent"
    assert router.vllm.abandoned == [name], "the engine still computes what nobody waits for"
    assert await counts(router, name) == (1, 1)


async def test_after_three_silences_nobody_waits_for_it_and_one_question_finds_it_well(
    router: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "REST_SECONDS", 4.0)
    name = await champion(router, base=0.5)
    router.vllm.slow[name] = None
    await asyncio.gather(*(router.chat() for _ in range(3)))
    router.vllm.asked.clear()
    answer = (await router.chat()).json()
    assert [one["model"] for one in router.vllm.asked] == ["base"]
    assert answer["ratchet"]["arm"] == "base" and "rests" in answer["ratchet"]["note"]
    async with router.http() as http:
        ready = (await http.get("/health/ready")).json()
    assert ready["resting"] == [f"{factories.ROUTE}: {name}"]
    router.vllm.slow.clear()
    await asyncio.sleep(4.1)
    assert (await router.chat()).json()["ratchet"]["arm"] == "champion"
    assert (await router.chat()).json()["ratchet"]["arm"] == "champion"


@pytest.mark.parametrize("settings", [CANARY], indirect=True)
async def test_a_challenger_that_hangs_is_retracted(
    router: Running, settings: dict[str, Any]
) -> None:
    await router.create()
    adapter = router.adapter()
    await router.handle(factories.evaluated(adapter=adapter, probe=None))
    fleet = router.service.parts.fleet
    await until(lambda: fleet.serving(adapter.adapter_id))
    router.vllm.slow[adapter.adapter_id] = None
    asked = [asyncio.create_task(router.chat(user=f"user {n}")) for n in range(30)]
    await until(lambda: router.state().challenger is None, 60)
    assert router.state().champion is None
    answers = [(await one).json()["ratchet"]["arm"] for one in asked]
    assert answers == ["base"] * 30


@pytest.mark.parametrize("settings", [CANARY | PATIENT], indirect=True)
async def test_impatient_callers_prove_nothing_for_a_challenger_that_hangs(
    router: Running, settings: dict[str, Any]
) -> None:
    """Each leaves after 0.3 s, long before the adapter's time is over."""
    await router.create()
    adapter = router.adapter()
    await router.handle(factories.evaluated(adapter=adapter, probe=None))
    await until(lambda: router.service.parts.fleet.serving(adapter.adapter_id))
    router.vllm.slow[adapter.adapter_id] = None
    for n in range(80):
        async with router.openai() as client:
            with contextlib.suppress(openai.APITimeoutError):
                await client.with_options(timeout=0.3).chat.completions.create(
                    model=factories.ROUTE,
                    messages=QUESTION,
                    user=f"user {n}",
                    extra_headers={"x-stainless-read-timeout": "60"},
                )
        if len(router.vllm.abandoned) == 3:
            break
    await until(lambda: router.state().challenger is None, 60)
    assert router.state().champion is None


@pytest.mark.parametrize("settings", [PATIENT], indirect=True)
async def test_a_champion_that_hangs_rests_though_its_callers_are_impatient(
    router: Running, settings: dict[str, Any]
) -> None:
    name = await champion(router, base=0.5)
    router.vllm.slow[name] = None
    leaving = [asyncio.create_task(router.chat(user=f"u{n}")) for n in range(3)]
    await until(lambda: len(router.vllm.asked) == 3)
    await asyncio.sleep(1.2)
    for one in leaving:
        one.cancel()
    await until(lambda: len(router.vllm.abandoned) == 3)
    router.vllm.asked.clear()
    assert (await router.chat()).json()["ratchet"]["arm"] == "base"
    assert [one["model"] for one in router.vllm.asked] == ["base"]


def test_what_was_asked_and_never_answered_is_no_evidence_for_it() -> None:
    rule = CanaryRule(share=0.2, requests=20, seconds=3)
    assert rule.verdict(Seen(0, 0, 3.0, waiting=2), "promote") == ("wait", "")
    assert rule.verdict(Seen(1, 1, 3.0), "promote") == ("wait", "")
    assert rule.verdict(Seen(3, 3, 1.0), "promote").move == "retract"
    assert rule.verdict(Seen(0, 0, 3.0, left=2), "promote") == ("wait", "")
    assert rule.verdict(Seen(0, 0, 3.0, left=3), "promote").move == "retract"
    assert rule.verdict(Seen(20, 0, 3.0, left=30), "wait").move == "promote"
    assert rule.verdict(Seen(0, 0, 3.0), "wait") == ("wait", "")
    assert rule.verdict(Seen(0, 0, 3.0), "promote").because.startswith("no request was")


async def test_a_question_that_nobody_answers_counts_for_the_adapter(router: Running) -> None:
    name = await champion(router)
    router.vllm.slow |= {name: None, "base": None}
    answer = await router.chat()
    assert answer.status_code == 503
    assert await counts(router, name) == (1, 1)
    assert await router.events("InferenceRecorded") == []


# The caller's life is the request's


@pytest.mark.parametrize("settings", [PATIENT], indirect=True)
async def test_who_leaves_stops_the_question_and_blames_nobody(
    router: Running, settings: dict[str, Any]
) -> None:
    name = await champion(router)
    router.vllm.slow[name] = None
    await gives_up(router, 0.3)
    await until(lambda: router.vllm.abandoned == [name])
    await asyncio.sleep(0.1)
    assert await counts(router, name) == (0, 0)
    assert [one["model"] for one in router.vllm.asked] == [name]
    assert await router.events("InferenceRecorded") == []


@pytest.mark.parametrize("settings", [PATIENT], indirect=True)
async def test_who_leaves_after_a_long_silence_does(
    router: Running, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "LONG", 0.5)
    name = await champion(router)
    router.vllm.slow[name] = None
    await gives_up(router, 0.8)

    async def counted() -> bool:
        return await counts(router, name) == (1, 1)

    for _ in range(50):
        if await counted():
            break
        await asyncio.sleep(0.05)
    assert await counted()


@pytest.mark.parametrize("settings", [PATIENT], indirect=True)
async def test_the_clients_own_patience_is_kept(router: Running, settings: dict[str, Any]) -> None:
    """The client says that it waits for 4 s: the base model is asked after half of that."""
    name = await champion(router, base=0.5)
    router.vllm.slow[name] = None
    async with router.openai() as client:
        answer = await client.with_options(timeout=4.0).chat.completions.create(
            model=factories.ROUTE, messages=QUESTION
        )
    assert answer.model_extra["ratchet"]["arm"] == "base"
    assert await counts(router, name) == (1, 1)  # as given to it and answered by another


# Known-bad answers are not trusted, and missing is not zero


def cut(model: str, completion: dict) -> None:
    completion["choices"][0]["finish_reason"] = "length"


def without_logprobs(model: str, completion: dict) -> None:
    completion["choices"][0]["logprobs"] = None


def only_thoughts(model: str, completion: dict) -> None:
    completion["choices"][0]["message"] |= {"content": None, "reasoning": "Hm."}


async def test_what_was_cut_is_never_confident(router: Running) -> None:
    router.vllm.bend = cut
    await router.create(SUMMARY)
    await router.handle(factories.calibration(SUMMARY, adapter_id=None, threshold=0.5))
    answer = (await router.chat()).json()
    assert answer["ratchet"]["outcome"] == "unsure"
    assert answer["choices"][0]["finish_reason"] == "length"
    router.vllm.bend = lambda *_: None
    assert (await router.chat()).json()["ratchet"]["outcome"] == "confident"


async def test_a_whole_label_at_its_last_token_is_no_cut_one(router: Running) -> None:
    await champion(router)
    router.vllm.bend = cut
    assert (await router.chat()).json()["ratchet"]["outcome"] == "confident"


@pytest.mark.parametrize("bend", [without_logprobs, only_thoughts])
async def test_an_engine_that_leaves_something_out_is_unfit_and_says_so(
    router: Running, bend: Any
) -> None:
    name = await champion(router, base=0.5)
    router.vllm.bend = lambda model, body: bend(model, body) if model == name else None
    answer = (await router.chat()).json()["ratchet"]
    assert (answer["arm"], answer["note"]) == ("base", f"{name} did not answer: UpstreamUnfit")
    assert await counts(router, name) == (1, 1)
    router.vllm.bend = bend
    refused = await router.chat()
    assert refused.status_code == 503
    async with router.http() as http:
        ready = (await http.get("/health/ready")).json()
        assert "no logprobs" in ready["answers_unfit"] or "no content" in ready["answers_unfit"]
        router.vllm.bend = lambda *_: None
        await router.chat()
        assert (await http.get("/health/ready")).json()["answers_unfit"] is None
    assert all(one["answer"] for one in await router.events("InferenceRecorded"))


# A fallback that cannot help is left out, and cost is written down


async def test_a_base_model_that_is_never_trusted_is_not_asked(router: Running) -> None:
    name = await champion(router, threshold=0.99, base=1.0)
    answer = (await router.chat()).json()["ratchet"]
    assert [one["model"] for one in router.vllm.asked] == [name]
    assert (answer["arm"], answer["outcome"]) == ("champion", "unsure")
    assert answer["note"].startswith("the base model was not asked: by its calibration")


async def test_behind_an_adapter_for_free_text_nobody_is_asked(router: Running) -> None:
    """Nothing is calibrated there, on a route that would ask without a certificate either."""
    await router.create(SUMMARY)
    await router.promote(router.adapter(), probe=None)
    name = router.state().champion.adapter_id
    await until(lambda: router.service.parts.fleet.serving(name))
    router.vllm.asked.clear()
    answer = (await router.chat()).json()["ratchet"]
    assert [one["model"] for one in router.vllm.asked] == [name]
    assert (answer["arm"], answer["outcome"]) == ("champion", "unsure")


async def test_one_whose_calibration_reaches_no_threshold_neither(router: Running) -> None:
    name = await champion(router, threshold=0.99)
    await router.handle(
        factories.calibration(adapter_id=None, slope=0.1, intercept=-2.0, threshold=0.6)
    )
    await router.chat()
    assert [one["model"] for one in router.vllm.asked] == [name]
    await router.handle(factories.calibration(adapter_id=None, threshold=0.6))
    await router.chat()
    assert [one["model"] for one in router.vllm.asked] == [name, name, "base"]


async def test_it_is_asked_all_the_same_where_the_adapter_broke_the_form(router: Running) -> None:
    await champion(router, threshold=0.5, base=1.0)
    router.vllm.answers = lambda model, _: ("parcel" if "@" in model else "delivery", -0.01)
    answer = (await router.chat()).json()
    assert answer["choices"][0]["message"]["content"] == "delivery"


async def test_every_attempt_is_paid_for_and_written_down(router: Running) -> None:
    await champion(router, threshold=0.99, base=0.99)
    answer = (await router.chat()).json()
    assert answer["usage"] == {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
    [recorded] = await router.events("InferenceRecorded")
    tokens = [(one["prompt_tokens"], one["completion_tokens"]) for one in recorded["attempts"]]
    assert tokens == [(10, 2), (10, 2)]
    assert (recorded["prompt_tokens"], recorded["completion_tokens"]) == (20, 4)


async def test_an_adapter_that_answered_is_enough_where_the_engine_goes_away(
    router: Running,
) -> None:
    await champion(router, threshold=0.99, base=0.5)
    router.vllm.fail_chat["base"] = (500, "out of memory")
    answer = (await router.chat()).json()["ratchet"]
    assert (answer["arm"], answer["outcome"]) == ("champion", "unsure")
    assert answer["note"] == "the base model did not answer: UpstreamFailed"


# One person, one arm; what is not served says what is


async def test_one_person_stays_with_one_arm(router: Running, settings: dict[str, Any]) -> None:
    await champion(router)
    sessions = set()
    for n in range(3):
        body = {"safety_identifier": "ada", "user": f"cache-{n}"}
        await router.chat(f"Question {n}?", **body)
        sessions.add((await router.events("InferenceRecorded"))[-1]["session"])
    assert len(sessions) == 1 and None not in sessions


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "responses/resp_1", "none is kept"),
        ("GET", "embeddings", "for the models of other upstreams"),
        ("GET", "files", "reviewed answers"),
        ("DELETE", "assistants/asst_1", "/v1/chat/completions"),
        ("GET", "anything/else", "GET /v1/models lists them"),
    ],
)
async def test_what_is_not_served_says_what_is(
    router: Running, method: str, path: str, says: str
) -> None:
    async with router.http() as http:
        answer = await http.request(method, f"/v1/{path}")
        http.headers.pop("authorization")
        unknown = await http.request(method, f"/v1/{path}")
    assert (answer.status_code, unknown.status_code) == (404, 401)
    assert says in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert unknown.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("method", "path"),
    [("PROPFIND", "chat/completions"), ("OPTIONS", "embeddings"), ("TRACE", "anything")],
)
async def test_a_method_that_nobody_takes_has_openais_shape_too(
    router: Running, method: str, path: str
) -> None:
    async with router.http() as http:
        answer = await http.request(method, f"/v1/{path}")
        own = await http.request(method, "/v1/routes")
    assert answer.status_code == own.status_code == 405
    assert "no such method" in answer.json()["error"]["message"]
    assert own.json()["error"] == "MethodNotAllowed"


@pytest.mark.parametrize("path", ["routes/a/b/c", "inferences/", "inferences/a/b"])
async def test_below_our_own_addresses_errors_are_ours(router: Running, path: str) -> None:
    async with router.http() as http:
        answer = await http.get(f"/v1/{path}")
    assert answer.status_code == 404 and "is not served" in answer.json()["detail"]


async def test_a_context_that_is_too_long_has_openais_code(router: Running) -> None:
    await router.create()
    router.vllm.fail_chat["base"] = (400, "This model's maximum context length is 1024 tokens.")
    async with router.openai() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=factories.ROUTE, messages=QUESTION)
    assert refused.value.code == "context_length_exceeded"


async def test_a_busy_engine_is_a_429_and_a_refused_key_is_ours(router: Running) -> None:
    await router.create()
    router.vllm.fail_chat["base"] = (429, "slow down")
    busy = await router.chat()
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
    router.vllm.fail_chat["base"] = (401, "wrong key sk-secret")
    ours = await router.chat()
    assert ours.status_code == 503
    assert "ours to mend" in ours.json()["error"]["message"] and "sk-" not in ours.text


async def test_what_no_calibration_knows_is_not_trusted(router: Running) -> None:
    """Held to a schema of the app's, answers are others than those that were calibrated."""
    router.vllm.answers = lambda *_: ("{}", -0.01)
    await router.create(SUMMARY)
    await router.handle(factories.calibration(SUMMARY, adapter_id=None, threshold=0.5))
    assert (await router.chat()).json()["ratchet"]["outcome"] == "confident"
    held = await router.chat(response_format={"type": "json_object"})
    assert router.vllm.asked[-1]["structured_outputs"] == {"json_object": True}
    assert held.json()["ratchet"]["outcome"] == "unsure"
    assert held.headers["x-ratchet-confidence"] == "uncalibrated"

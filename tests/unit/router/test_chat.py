"""An app with the official OpenAI client gets answers, and errors that say what to do."""

from __future__ import annotations

import json

import openai
import pytest

from services.router.upstream import Upstream
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.router.conftest import Running

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]


async def test_the_official_client_works(router: Running) -> None:
    await router.create()
    async with router.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model=factories.ROUTE,
            messages=QUESTION,
            temperature=0.7,
            user="u1",
            metadata={"order": "17"},
        )
        answer = raw.parse()
        listed = [model.id async for model in client.models.list()]
        retrieved = await client.models.retrieve(factories.ROUTE)
    assert answer.choices[0].message.content == "delivery"
    assert answer.usage.total_tokens == 12
    assert raw.headers["x-ratchet-inference-id"] == answer.id
    assert raw.headers["x-ratchet-arm"] == "base"
    assert answer.model_extra["ratchet"]["outcome"] == "unsure"
    assert listed == [factories.ROUTE] == [retrieved.id]
    async with router.openai("globex") as stranger:
        assert [model.id async for model in stranger.models.list()] == []


async def test_the_base_model_is_asked_the_detailed_prompt_and_the_route_decides_sampling(
    router: Running,
) -> None:
    await router.create()
    await router.chat(
        temperature=1.5,
        max_tokens=999,
        messages=[{"role": "system", "content": "Be a pirate."}, *QUESTION],
    )
    asked = router.vllm.asked[-1]
    assert asked["messages"] == [
        {"role": "system", "content": "Choose one of: delivery, refund, password."},
        *QUESTION,
    ]
    assert (
        asked["temperature"],
        asked["max_tokens"],
        asked["logprobs"],
        asked["top_logprobs"],
    ) == (0, 16, True, 5)


async def test_another_tenants_route_looks_like_none(router: Running) -> None:
    await router.create()
    async with router.openai("globex") as stranger:
        for model in (factories.ROUTE, "globex/nothing", "gpt-4o"):
            with pytest.raises(openai.NotFoundError, match="GET /v1/models lists yours") as caught:
                await stranger.chat.completions.create(model=model, messages=QUESTION)
            assert caught.value.code == "model_not_found"


async def test_a_refusal_reaches_the_client_as_its_own_exception(router: Running) -> None:
    await router.create()
    async with router.openai() as client:
        with pytest.raises(openai.BadRequestError, match="send n=1") as caught:
            await client.chat.completions.create(model=factories.ROUTE, messages=QUESTION, n=2)
        assert (caught.value.param, caught.value.code) == ("n", "bad_request")
    async with router.http() as http:
        answer = await http.post("/v1/chat/completions", content=b"{")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert router.vllm.asked == []


async def test_a_body_of_10_mb_is_refused(router: Running) -> None:
    await router.create()
    answer = await router.chat("x" * 10_000_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_keys_are_checked_in_openais_shape(router: Running) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{router.url}/v1",
        api_key="rk_wrong",  # pragma: allowlist secret
        max_retries=0,
    ) as client:
        with pytest.raises(openai.AuthenticationError, match="valid API key"):
            await client.models.list()


async def test_what_is_recorded_is_redacted_and_what_is_returned_is_not(router: Running) -> None:
    await router.create()
    router.vllm.answers = lambda *_: ("Write to jane.doe@example.com", -0.1)
    answer = (
        await router.chat("I am john@example.com", metadata={"mail": "john@example.com"})
    ).json()
    assert answer["choices"][0]["message"]["content"] == "Write to jane.doe@example.com"
    async with router.http() as http:
        stored = (await http.get(f"/v1/inferences/{answer['id']}")).text
    published = json.dumps(await router.events("InferenceRecorded"))
    assert "example.com" not in stored
    assert "example.com" not in published
    assert "[EMAIL]" in published


async def test_decision_and_events_are_durable_before_the_answer(router: Running) -> None:
    await router.create()
    answer = (await router.chat()).json()
    inference = (await router.events("InferenceRecorded"))[0]
    review = (await router.events("ReviewRequested"))[0]
    assert answer["id"] == inference["inference_id"] == review["inference_id"]
    assert (inference["outcome"], inference["route_version"], inference["arm"]) == (
        "unsure",
        1,
        "base",
    )
    async with router.http() as mine, router.http("globex") as other:
        assert (await mine.get(f"/v1/inferences/{answer['id']}")).json() == inference
        assert (await other.get(f"/v1/inferences/{answer['id']}")).status_code == 404


async def test_bodies_over_256_kib_go_to_the_artifact_store(
    router: Running, settings: dict
) -> None:
    await router.create()
    await router.chat("parcel " * 45_000)
    inference = (await router.events("InferenceRecorded"))[0]
    assert (inference["messages"], inference["answer"]) == ([], "")
    from schemas.base import BlobRef

    stored = json.loads(
        BlobStore(settings["artifacts_url"]).get_bytes(BlobRef(**inference["content"]))
    )
    assert stored["messages"][0]["content"] == "parcel " * 45_000
    assert stored["answer"] == "delivery"


async def test_a_confident_base_model_needs_no_reviewer(router: Running) -> None:
    await router.create()
    await router.handle(
        factories.calibration(adapter_id=None, slope=1.0, intercept=0.0, threshold=0.7)
    )
    answer = await router.chat()
    assert answer.headers["x-ratchet-outcome"] == "confident"
    # sigmoid(logit(e^-0.2))
    assert float(answer.headers["x-ratchet-confidence"]) == pytest.approx(0.818731, abs=1e-6)
    assert await router.events("ReviewRequested") == []


async def test_new_prompts_void_the_old_calibration(router: Running) -> None:
    await router.create()
    await router.handle(factories.calibration(adapter_id=None, threshold=0.7))
    await router.create(factories.spec(labels=("delivery", "refund", "password", "invoice")))
    answer = await router.chat()
    assert answer.headers["x-ratchet-outcome"] == "unsure"
    assert answer.headers["x-ratchet-confidence"] == "uncalibrated"


async def test_a_request_the_model_refuses_is_the_callers_error(router: Running) -> None:
    await router.create()
    router.vllm.fail_chat["base"] = (400, "This model's maximum context length is 1024 tokens.")
    async with router.openai() as client:
        with pytest.raises(openai.BadRequestError, match="maximum context length"):
            await client.chat.completions.create(model=factories.ROUTE, messages=QUESTION)


async def test_vllm_down_is_a_503_that_says_when_to_come_back(router: Running) -> None:
    await router.create()
    upstream = router.service.parts.upstream
    await upstream.close()
    upstream.client = Upstream("http://127.0.0.1:1", timeout=5.0, at_once=8).client
    answer = await router.chat()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "send the request again" in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "server_error"
    assert await router.events("InferenceRecorded") == []


async def test_readiness_tells_of_vllm_and_the_event_log(router: Running) -> None:
    from tests.unit.router.fakes import until

    await until(lambda: router.service.parts.fleet.up)
    async with router.http() as http:
        ready = (await http.get("/health/ready")).json()
    assert (ready["vllm"], ready["consuming"], ready["base_model_served"]) == ("up", False, True)

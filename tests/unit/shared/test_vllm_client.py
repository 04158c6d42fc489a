"""The one client of vLLM: what it reads from an answer, and how it tells failures apart."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from schemas.base import Message
from shared.rules import (
    Bounds,
    ModelNotServed,
    NotACompletion,
    RequestRefused,
    Timeouts,
    VllmAway,
    VllmClient,
    VllmError,
    VllmFailed,
)
from tests.unit.router.fakes import FakeVllm, completion, failure, served

QUESTION = (Message(role="user", content="Where is my parcel?"),)
TIMEOUTS = Timeouts(answer=5.0, connect=2.0, admin=5.0)


@pytest.fixture
async def vllm() -> AsyncIterator[tuple[FakeVllm, VllmClient]]:
    fake = FakeVllm()
    async with served(fake.app) as url:
        client = VllmClient(f"{url}/v1", TIMEOUTS)
        yield fake, client
        await client.close()


@dataclass
class Scripted:
    """Answers every request alike, and keeps what came."""

    response: Response
    seconds: float = 0.0
    requests: list[Request] = field(default_factory=list)

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        await request.body()
        await asyncio.sleep(self.seconds)
        return self.response

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.__call__, methods=["GET", "POST"])])


async def test_an_answer_has_its_score_its_logprob_and_its_tokens(vllm) -> None:
    _, client = vllm
    answer = await client.ask("base", QUESTION, 16)
    assert (answer.answer, answer.finish_reason) == ("delivery", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (10, 2)
    # The end token, which has -0.7, is not part of the answer.
    assert answer.logprob == pytest.approx(-0.2)
    assert answer.confidence.score == pytest.approx(math.exp(-0.2))
    assert answer.latency_ms > 0


async def test_choices_constrain_the_decoding(vllm) -> None:
    fake, client = vllm
    await client.ask("base", QUESTION, 16, Bounds(("delivery", "refund")))
    await client.ask("base", QUESTION, 16)
    assert fake.asked[0]["structured_outputs"] == {"choice": ["delivery", "refund"]}
    assert "structured_outputs" not in fake.asked[1]


async def test_adapters_come_and_go_and_twice_is_no_error(vllm, tmp_path: Path) -> None:
    fake, client = vllm
    await client.load("acme--triage@0123", tmp_path)
    await client.load("acme--triage@0123", tmp_path)
    assert await client.models() == {"base", "acme--triage@0123"}
    assert fake.adapters == {"acme--triage@0123": str(tmp_path)}
    await client.unload("acme--triage@0123")
    await client.unload("acme--triage@0123")
    assert await client.models() == {"base"}


async def test_an_adapter_that_vllm_cannot_serve_is_refused(vllm, tmp_path: Path) -> None:
    fake, client = vllm
    fake.fail_load = (400, "vLLM does not yet support DoRA.")
    with pytest.raises(RequestRefused, match="DoRA"):
        await client.load("acme--triage@0123", tmp_path)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestRefused),
        (413, RequestRefused),
        (422, RequestRefused),
        (404, ModelNotServed),
        (401, VllmFailed),
        (429, VllmFailed),
        (500, VllmFailed),
        (503, VllmFailed),
    ],
)
async def test_each_status_is_told_as_what_it_means(status: int, error: type[VllmError]) -> None:
    async with served(Scripted(failure(status, "because")).app) as url:
        client = VllmClient(url, TIMEOUTS)
        with pytest.raises(error, match="because") as caught:
            await client.ask("base", QUESTION, 16)
        await client.close()
    assert type(caught.value) is error
    assert getattr(caught.value, "code", status) == status


@pytest.mark.parametrize(
    "response",
    [
        PlainTextResponse("hello"),
        JSONResponse([]),
        JSONResponse({"choices": []}),
        JSONResponse(completion("x", -0.1) | {"choices": [{"message": {}}]}),
    ],
)
async def test_what_is_no_completion_is_said_to_be_none(response: Response) -> None:
    async with served(Scripted(response).app) as url:
        client = VllmClient(url, TIMEOUTS)
        with pytest.raises(NotACompletion, match="not an OpenAI-compatible completion"):
            await client.ask("base", QUESTION, 16)
        await client.close()


async def test_a_server_that_is_away_or_silent_is_away() -> None:
    nowhere = VllmClient("http://127.0.0.1:1", TIMEOUTS)
    with pytest.raises(VllmAway, match="NotReached"):
        await nowhere.ask("base", QUESTION, 16)
    async with served(Scripted(JSONResponse({}), seconds=1.0).app) as url:
        impatient = VllmClient(url, Timeouts(answer=0.1, connect=2.0, admin=0.1))
        with pytest.raises(VllmAway, match="TimeoutError"):
            await impatient.ask("base", QUESTION, 16)
        with pytest.raises(VllmAway):
            await impatient.models()
        await impatient.close()


async def test_a_key_is_sent_where_there_is_one() -> None:
    script = Scripted(JSONResponse(completion("x", -0.1)))
    async with served(script.app) as url:
        for key in ("secret", ""):
            client = VllmClient(url, TIMEOUTS, api_key=key)
            await client.ask("base", QUESTION, 16)
            await client.close()
    with_key, without = script.requests
    assert with_key.headers["authorization"] == "Bearer secret"
    assert "authorization" not in without.headers


def chatml(messages: list[dict]) -> str:
    return "".join(f"<|im_start|>{said['role']}\n{said['content']}" for said in messages)


def without_system(messages: list[dict]) -> str:
    if messages[0]["role"] == "system":
        raise ValueError("System role not supported")
    return chatml(messages)


def dated(day: str) -> Callable[[list[dict]], str]:
    return lambda messages: f"Today Date: {day}\n{chatml(messages)}"


async def test_engines_that_answer_differently_are_told_apart(
    vllm: tuple[FakeVllm, VllmClient],
) -> None:
    fake, client = vllm
    assert await client.identity() == ""
    fake.release = "0.32.0"
    assert await client.identity() == "0.32.0"
    fake.root = "/models/small-instruct"
    before = await client.identity()
    # Loading an adapter makes no other engine of it, nor does another folder.
    await client.load("a@1", Path("/adapters/a"))
    fake.root = "acme/small-instruct"
    assert await client.identity() == before == "0.32.0 small-instruct"
    seen = {before}
    for template in (chatml, without_system, lambda messages: "", dated("27 Nov 2026")):
        fake.template = template
        seen.add(await client.identity())
    assert len(seen) == 4  # An empty text tells nothing.
    fake.root = "acme/large-instruct"
    assert await client.identity() not in seen


@pytest.mark.parametrize("other", ["3 May 2027", "1 January 2031", "Friday, 02 October 2026"])
async def test_a_date_in_a_template_makes_no_other_engine(
    vllm: tuple[FakeVllm, VllmClient], other: str
) -> None:
    fake, client = vllm
    fake.template = dated("27 Nov 2026" if "," not in other else "Monday, 27 November 2026")
    before = await client.identity()
    fake.template = dated(other)
    assert await client.identity() == before


async def test_an_engine_that_fails_just_now_is_not_taken_for_another(
    vllm: tuple[FakeVllm, VllmClient],
) -> None:
    fake, client = vllm
    fake.template = chatml
    for status in (500, 503):
        fake.fail_tokenize = (status, "loading")
        with pytest.raises(VllmFailed):
            await client.identity()
    fake.fail_tokenize = (501, "no such page")
    assert await client.identity() == ""

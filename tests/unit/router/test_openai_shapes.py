"""Every field that openai-python's own tests send is done, refused in words, or named as ignored.

The table says each field of a method's longest shape; the values are such as those tests have,
which often are no sensible ones.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from services.router import chat as chat_module
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import served
from tests.unit.router.other_upstream import OtherUpstreamStandIn
from tests.unit.router.test_passing import upstream, write

ROUTE = "acme/summary"
FUNCTION = {"name": "name", "description": "description", "parameters": {"foo": "bar"}}
MODERATION = {
    "model": "model",
    "policy": {"input": {"mode": "score"}, "output": {"mode": "score"}},
}
CACHE = {"mode": "implicit", "ttl": "30m"}
PLACE = {"city": "city", "country": "country", "region": "region", "timezone": "timezone"}
ASKED = [{"role": "developer", "content": "string"}, {"role": "user", "content": "string"}]
NEEDED: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": ASKED},
    "responses": {"input": "string"},
    "completions": {"prompt": "This is a test."},
    "embeddings": {"input": "The quick brown fox jumped over the lazy dog"},
}
FIELDS: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "audio": {"format": "wav", "voice": "alloy"},
        "frequency_penalty": -2,
        "function_call": "none",
        "functions": [FUNCTION],
        "logit_bias": {"foo": 0},
        "logprobs": True,
        "max_completion_tokens": 0,
        "max_tokens": 0,
        "metadata": {"foo": "string"},
        "modalities": ["text"],
        "moderation": MODERATION,
        "n": 1,
        "parallel_tool_calls": True,
        "prediction": {"content": "string", "type": "content"},
        "presence_penalty": -2,
        "prompt_cache_key": "prompt-cache-key-1234",
        "prompt_cache_options": CACHE,
        "prompt_cache_retention": "in_memory",
        "reasoning_effort": "none",
        "response_format": {"type": "text"},
        "safety_identifier": "safety-identifier-1234",
        "seed": -9007199254740991,
        "service_tier": "auto",
        "stop": "\n",
        "store": True,
        "stream": False,
        "stream_options": {"include_obfuscation": True, "include_usage": True},
        "temperature": 1,
        "tool_choice": "none",
        "tools": [{"type": "function", "function": FUNCTION | {"strict": True}}],
        "top_logprobs": 0,
        "top_p": 1,
        "user": "user-1234",
        "verbosity": "low",
        "web_search_options": {
            "search_context_size": "low",
            "user_location": {"approximate": PLACE, "type": "approximate"},
        },
    },
    "responses": {
        "background": True,
        "context_management": [{"type": "type", "compact_threshold": 1000}],
        "conversation": "string",
        "include": ["file_search_call.results"],
        "instructions": "instructions",
        "max_output_tokens": 16,
        "max_tool_calls": 0,
        "metadata": {"foo": "string"},
        "moderation": MODERATION,
        "parallel_tool_calls": True,
        "previous_response_id": "previous_response_id",
        "prompt": {"id": "id", "variables": {"foo": "string"}, "version": "version"},
        "prompt_cache_key": "prompt-cache-key-1234",
        "prompt_cache_options": CACHE,
        "prompt_cache_retention": "in_memory",
        "reasoning": {"effort": "none", "summary": "auto", "generate_summary": "auto"},
        "safety_identifier": "safety-identifier-1234",
        "service_tier": "auto",
        "store": True,
        "stream": False,
        "stream_options": {"include_obfuscation": True},
        "temperature": 1,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tool_choice": "none",
        "tools": [
            {"type": "function", **FUNCTION, "strict": True, "output_schema": {"foo": "bar"}}
        ],
        "top_logprobs": 0,
        "top_p": 1,
        "truncation": "auto",
        "user": "user-1234",
    },
    "completions": {
        "best_of": 0,
        "echo": True,
        "frequency_penalty": -2,
        "logit_bias": {"foo": 0},
        "logprobs": 0,
        "max_tokens": 16,
        "n": 1,
        "presence_penalty": -2,
        "seed": 0,
        "stop": "\n",
        "stream": False,
        "stream_options": {"include_obfuscation": True, "include_usage": True},
        "suffix": "test.",
        "temperature": 1,
        "top_p": 1,
        "user": "user-1234",
    },
    "embeddings": {"dimensions": 1, "encoding_format": "float", "user": "user-1234"},
}
# Values beside those, that a route can do, or that must not be lost either.
FURTHER: dict[str, list[dict[str, Any]]] = {
    "chat/completions": [
        {"max_tokens": 5},
        {"max_completion_tokens": 7},
        {"logprobs": True, "top_logprobs": 3},
        {"top_logprobs": 3},
        {"n": 3},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "grammar"}},
        {"service_tier": "flex"},
        {"modalities": ["text", "audio"]},
        {"stream_options": {"include_usage": True}},
        {"something_new": 1},
    ],
    "responses": [
        {"background": False},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
        {"top_logprobs": 3},
        {"text": {"format": {"type": "json_object"}}},
        {"text": {"verbosity": "high"}},
        {"text": {"format": {"type": "text"}, "something_new": 1}},
        {"text": "low"},
        {"include": "message.output_text.logprobs"},
        {"include": []},
        {"stream_options": {"include_obfuscation": False}},
        {"reasoning": {"effort": "high"}},
        {"truncation": "disabled"},
        {"something_new": 1},
    ],
    "completions": [{"logprobs": 3}, {"best_of": 1}, {"echo": False}, {"suffix": ""}, {"n": 2}],
}
# By what the field with this value is done, for all that are not named: everything else must be
# named in `ratchet.ignored` where the request was served.
DONE: dict[str, tuple[object, ...]] = {
    "frequency_penalty": (),
    "function_call": ("none",),
    "include": (["message.output_text.logprobs"], []),
    "instructions": ("instructions",),
    "logprobs": (True,),
    "max_tokens": (5, 16),
    "max_completion_tokens": (7,),
    "max_output_tokens": (16,),
    # Recorded.
    "metadata": ({"foo": "string"},),
    "modalities": (["text"],),
    "n": (1, 2, 3),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"}, {"type": "json_object"}),
    "safety_identifier": ("safety-identifier-1234",),
    # The same at temperature 0.
    "seed": (0, -9007199254740991),
    "service_tier": ("auto",),
    "stop": ("\n",),
    "stream": (False, True),
    "stream_options": ({"include_usage": True}, {"include_obfuscation": False}),
    "text": ({"format": {"type": "json_object"}},),
    # No tool is called; where one may be, the model is told of it.
    "tool_choice": ("none",),
    "tools": (FIELDS["chat/completions"]["tools"], FIELDS["responses"]["tools"]),
    # None are asked for.
    "top_logprobs": (0, 2, 3),
    "top_p": (1,),
    "truncation": ("disabled",),
    "user": ("user-1234",),
    "background": (False,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
}
ALL = [(door, {name: value}) for door in FURTHER for name, value in FIELDS[door].items()]
ALL += [(door, fields) for door, several in FURTHER.items() for fields in several]
SUMMARY = factories.spec(
    name=ROUTE,
    task="summarisation",
    labels=(),
    system_prompt="Sum.",
    detailed_prompt="Sum it up.",
    max_tokens=200,
    system="append",
)


def unsaid(fields: dict[str, Any], ignored: list[str]) -> list[str]:
    """The fields of a served request that are neither done nor named."""
    return [
        name
        for name, value in fields.items()
        if value not in DONE.get(name, ())
        and not any(re.split(r"[.:]", one)[0] == name for one in ignored)
    ]


@pytest.mark.parametrize(("door", "fields"), ALL, ids=str)
async def test_no_field_is_dropped_in_silence(router: Running, door: str, fields: dict) -> None:
    await router.create(SUMMARY)
    async with router.http() as http:
        answer = await http.post(f"/v1/{door}", json={"model": ROUTE} | NEEDED[door] | fields)
    said = answer.json()
    if answer.status_code == 200:
        assert unsaid(fields, said["ratchet"]["ignored"]) == []
    else:
        assert answer.status_code == 400 and said["error"]["type"] == "invalid_request_error"
        assert any(name in said["error"]["message"] for name in fields), said
        assert said["error"]["param"].partition(".")[0] in fields


async def test_the_check_finds_a_field_that_is_dropped(
    router: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(chat_module, "unread", lambda _: ())
    await router.create(SUMMARY)
    async with router.http() as http:
        sent = {"model": ROUTE, "messages": ASKED, "verbosity": "low"}
        said = (await http.post("/v1/chat/completions", json=sent)).json()
    assert unsaid({"verbosity": "low"}, said["ratchet"]["ignored"]) == ["verbosity"]


async def ask(client: openai.AsyncOpenAI, door: str, **body: Any) -> str:
    """Ask as the library does; return how it ended."""
    method = {
        "chat/completions": client.chat.completions,
        "responses": client.responses,
        "completions": client.completions,
        "embeddings": client.embeddings,
    }[door]
    try:
        answer = await method.create(**body)
        if body.get("stream"):
            parts = [part async for part in answer]
            assert parts
            return "streamed"
        # Strictly: every field has the type that the library says.
        type(answer).model_validate(answer.model_dump(), strict=False)
        return answer.object
    except openai.BadRequestError as refused:
        field = (refused.param or "").partition(".")[0]
        told = field in body and field in refused.message
    if not told:
        pytest.fail(f"a refusal that names no field: {field}")
    return f"refused {field}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("door", "served_as"),
    [
        ("chat/completions", "chat.completion"),
        ("responses", "response"),
        ("completions", "text_completion"),
    ],
)
async def test_the_shortest_and_the_longest_shape(
    router: Running, door: str, served_as: str, stream: bool
) -> None:
    await router.create(SUMMARY)
    shortest = {"model": ROUTE} | NEEDED[door]
    # What cannot be done is left out one by one: so every refusal names what is in the way.
    longest = shortest | FIELDS[door] | {"stream": stream}
    refused = []
    async with router.openai() as client:
        ended = await ask(client, door, **shortest, **({"stream": True} if stream else {}))
        assert ended == ("streamed" if stream else served_as)
        while (ended := await ask(client, door, **longest)).startswith("refused"):
            refused.append(ended.partition(" ")[2])
            del longest[refused[-1]]
    assert ended == ("streamed" if stream else served_as)
    # Nothing that a route needs, and never the half.
    assert len(refused) < len(FIELDS[door]) / 3


async def test_embeddings_without_an_upstream_say_what_to_configure(router: Running) -> None:
    await router.create()
    async with router.openai() as client:
        for model in ("text-embedding-3-small", factories.ROUTE):
            with pytest.raises(openai.NotFoundError, match="ROUTER_UPSTREAMS_FILE"):
                await client.embeddings.create(
                    model=model, **NEEDED["embeddings"], **FIELDS["embeddings"]
                )
        for model in ("", "x" * 201):
            with pytest.raises(openai.BadRequestError, match="model"):
                await client.embeddings.create(model=model, input="x")


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[OtherUpstreamStandIn, str]]:
    other = OtherUpstreamStandIn()
    async with served(other.app) as url:
        yield other, url


@pytest.fixture
def passing(
    settings: dict[str, Any],
    elsewhere: tuple[OtherUpstreamStandIn, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> OtherUpstreamStandIn:
    monkeypatch.setenv("BIGCO_KEY", "sk-1")
    settings["upstreams_file"] = write(tmp_path, upstream(elsewhere[1], models=["*"]))
    return elsewhere[0]


@pytest.mark.parametrize("door", FIELDS)
async def test_every_field_goes_to_an_upstream(
    passing: OtherUpstreamStandIn, router: Running, door: str
) -> None:
    body = {"model": "gpt-5.4"} | NEEDED[door] | FIELDS[door]
    async with router.http() as http:
        answer = await http.post(f"/v1/{door}", json=body)
    assert answer.status_code == 200 and passing.asked[0][2] == body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "chat/completions"),
        ("GET", "chat/completions/completion_id"),
        ("POST", "chat/completions/completion_id"),
        ("DELETE", "chat/completions/completion_id"),
        ("GET", "chat/completions/completion_id/messages"),
        ("GET", "responses/resp_1?include[]=file_search_call.results&stream=true"),
        ("DELETE", "responses/resp_1"),
        ("POST", "responses/resp_1/cancel"),
        ("GET", "responses/resp_1/input_items"),
        ("POST", "responses/input_tokens"),
        ("POST", "responses/compact"),
        ("GET", "embeddings"),
        ("GET", "completions"),
    ],
)
async def test_other_methods_of_these_say_what_to_use(
    router: Running, method: str, path: str
) -> None:
    async with router.http() as http:
        answer = await http.request(method, f"/v1/{path}", json={"metadata": {"foo": "string"}})
    assert answer.status_code == 404
    assert "is not served: " in answer.json()["error"]["message"]

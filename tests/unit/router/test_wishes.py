"""What a request wants beside an answer is done, refused in words, or named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.route import RouteSpec
from services.router.chat import ChatLimits, question_of, read
from services.router.openai_errors import BadRequest
from services.router.wishes import Terms
from shared.rules import FREE, Bounds
from tests import factories

LIMITS = ChatLimits(messages=200, characters=400_000)
QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
OTHER = {"type": "object", "properties": {"name": {"type": "string"}}}
LABELS = factories.spec()
INVOICE = factories.spec(task="extraction", labels=(), output_schema=SCHEMA, max_tokens=200)
SUMMARY = factories.spec(task="summarisation", labels=(), max_tokens=200)
OBJECTS = factories.spec(task="extraction", labels=(), max_tokens=200)
SAYS_JSON = OBJECTS.model_copy(update={"system_prompt": "Answer with JSON."})
FORMAT = factories.spec(task="format", labels=())


def wanted(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}


def terms(spec: RouteSpec, **body: Any) -> Terms:
    request = {"model": spec.name, "messages": QUESTION} | body
    asked = question_of(read(json.dumps(request).encode()), None, LIMITS)
    return Terms.of(asked.wishes, spec, asked.messages)


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"temperature": 0.7, "top_p": 0.9}, ("temperature", "top_p")),
        ({"temperature": 0, "top_p": 1, "presence_penalty": 0.0, "frequency_penalty": 0}, ()),
        ({"temperature": None, "tool_choice": None, "stop": None, "logprobs": False}, ()),
        ({"seed": 7, "n": 1, "logit_bias": {}, "store": False, "service_tier": "auto"}, ()),
        ({"logit_bias": {"50256": -100}}, ("logit_bias",)),
        ({"reasoning_effort": "high", "verbosity": "low"}, ("reasoning_effort", "verbosity")),
        ({"top_k": 40, "min_p": 0.1, "guided_choice": ["a"]}, ("guided_choice", "min_p", "top_k")),
        ({"store": True, "prompt_cache_key": "k"}, ("prompt_cache_key", "store")),
        ({"parallel_tool_calls": False, "tool_choice": "auto"}, ()),
        ({"metadata": {"team": None, "n": 7}}, ("metadata.team",)),
        ({"stop": ["liv"]}, ("stop",)),
        ({"messages": [QUESTION[0] | {"name": "ada"}]}, ("messages: name",)),
        ({"x" * 300: 1}, ("x" * 64,)),
    ],
)
def test_what_is_not_done_is_named(body: dict, ignored: tuple[str, ...]) -> None:
    assert terms(LABELS, **body).ignored == ignored


def test_a_request_of_a_thousand_fields_names_fifty() -> None:
    assert len(terms(LABELS, **{f"field{n}": 1 for n in range(1000)}).ignored) == 50


def test_a_system_message_that_the_route_replaces_is_named() -> None:
    messages = [{"role": "developer", "content": "Be a pirate."}, *QUESTION]
    assert terms(LABELS, messages=messages).ignored == ("messages: system",)


@pytest.mark.parametrize(
    ("body", "most"),
    [
        ({}, 16),
        ({"max_tokens": 999}, 16),
        ({"max_tokens": 3}, 3),
        ({"max_completion_tokens": 4}, 4),
        ({"max_tokens": 9, "max_completion_tokens": 5}, 5),
    ],
)
def test_the_shorter_of_route_and_request_counts(body: dict, most: int) -> None:
    assert terms(LABELS, **body).max_tokens == most


@pytest.mark.parametrize(
    ("spec", "body", "bounds"),
    [
        (SUMMARY, {"stop": "END"}, Bounds(stop=("END",))),
        (SUMMARY, {"stop": ["\n\n", "END"]}, Bounds(stop=("\n\n", "END"))),
        (SUMMARY, {"response_format": {"type": "text"}}, FREE),
        (SUMMARY, {"response_format": {"type": "json_object"}}, Bounds(json_schema={})),
        (SUMMARY, {"response_format": wanted(OTHER)}, Bounds(json_schema=OTHER)),
        (INVOICE, {"response_format": wanted(SCHEMA)}, FREE),
        (INVOICE, {"response_format": {"type": "json_object"}}, FREE),
        (OBJECTS, {"response_format": {"type": "json_object"}}, Bounds(json_schema={})),
        (SAYS_JSON, {"response_format": {"type": "json_object"}}, FREE),
        (OBJECTS, {"response_format": wanted(OTHER)}, Bounds(json_schema=OTHER)),
    ],
)
def test_what_can_be_done_is_done(spec: RouteSpec, body: dict, bounds: Bounds) -> None:
    made = terms(spec, **body)
    assert (made.bounds, made.ignored) == (bounds, ())


@pytest.mark.parametrize(
    ("spec", "wants", "says"),
    [
        (LABELS, {"type": "json_object"}, "one of its labels, not with JSON"),
        (LABELS, wanted(OTHER), "one of its labels, not with JSON"),
        (FORMAT, wanted(OTHER), "text of its own format"),
        (INVOICE, wanted(OTHER), "by the schema of its own"),
        (SUMMARY, {"type": "json_schema"}, "needs json_schema.schema"),
        (SUMMARY, wanted({"type": "nothing"}), "json_schema.schema"),
        (SUMMARY, wanted({"$ref": "https://example.com/x.json"}), "json_schema.schema"),
        (SUMMARY, {"type": "grammar"}, "one of text, json_object and json_schema"),
    ],
)
def test_what_would_give_something_else_is_refused(spec: RouteSpec, wants: dict, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        terms(spec, response_format=wants)
    assert str(refused.value.param).startswith("response_format")


def function(parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "Invoice", "parameters": parameters} | more}


# As pydantic and the clients around it write the same schema.
DRESSED = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Invoice",
    "description": "An invoice.",
    "additionalProperties": False,
    "properties": {"total": {"title": "Total", "description": "in EUR", "type": "number"}},
    "required": ["total"],
    "type": "object",
}


def test_the_routes_own_schema_is_known_however_a_client_dresses_it() -> None:
    assert terms(INVOICE, response_format=wanted(DRESSED)).bounds == FREE
    made = terms(INVOICE, tools=[function(DRESSED)], tool_choice="required")
    assert (made.tool, made.ignored) == ("Invoice", ())
    assert terms(INVOICE, tools=[function(DRESSED)], tool_choice="none").tool is None


@pytest.mark.parametrize(
    ("spec", "tools", "says"),
    [
        (INVOICE, [function(OTHER)], "another object"),
        (INVOICE, [function(SCHEMA | {"required": []})], "another object"),
        (INVOICE, [function({"type": "object", "properties": {"title": {}}})], "another object"),
        (INVOICE, [function(SCHEMA), function(OTHER)], "knows of one"),
        (INVOICE, [{"type": "web_search"}], "another object"),
        (INVOICE, [function(SCHEMA, name="a b")], "needs a name"),
        (INVOICE, [function(SCHEMA, name=None)], "needs a name"),
        (LABELS, [function(SCHEMA)], "one of its labels and calls no tools"),
        (FORMAT, [function(SCHEMA)], "text of its own format and calls no tools"),
        (OBJECTS, [function(SCHEMA)], "calls no tools"),
    ],
)
def test_calls_that_a_route_cannot_make_are_refused(
    spec: RouteSpec, tools: list, says: str
) -> None:
    with pytest.raises(BadRequest, match=says):
        terms(spec, tools=tools, tool_choice="required")


@pytest.mark.parametrize("spec", [LABELS, SUMMARY, INVOICE])
def test_a_choice_of_nothing_is_refused(spec: RouteSpec) -> None:
    with pytest.raises(BadRequest, match="tool_choice needs tools"):
        terms(spec, tool_choice="required")
    assert terms(spec, tool_choice="auto", tools=[]).bounds == FREE


@pytest.mark.parametrize("spec", [LABELS, FORMAT, OBJECTS, INVOICE])
def test_tools_that_need_not_be_called_are_named_where_a_route_calls_none(spec: RouteSpec) -> None:
    made = terms(spec, tools=[function(OTHER), function(OTHER, name="B")])
    assert (made.ignored, made.tool, made.bounds) == (("tools",), None, FREE)

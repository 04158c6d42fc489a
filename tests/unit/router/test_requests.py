"""What the router accepts of OpenAI's API, and what it refuses with a word on what to change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.router.chat import ChatLimits, ChatQuestion, question_of, read
from services.router.openai_errors import BadRequest
from tests import factories

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]


def parse(body: bytes, session: str | None = None) -> ChatQuestion:
    return question_of(read(body), session, ChatLimits(messages=200, characters=400_000))


def called(arguments: str, name: str = "find", kind: str = "function") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    call = {"id": "call_1", "type": kind, "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"n": 9}, "n: "),
        ({"n": 0}, "n: "),
        ({"n": 2, "temperature": 3}, "temperature"),
        ({"n": 2, "seed": "x"}, "seed"),
        ({"functions": [{"name": "f"}]}, "send tools"),
        ({"messages": []}, "at least one user message"),
        ({"messages": [{"role": "user", "content": "  "}]}, "at least one user message"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
                ]
            },
            "not 'image_url'",
        ),
        ({"messages": [{"role": "user", "content": None}]}, "needs text content"),
        ({"messages": [*QUESTION, {"role": "tool", "content": "x"}]}, "answers a call"),
        (
            {"messages": [*QUESTION, {"role": "tool", "content": "x", "tool_call_id": "call_1"}]},
            "answers a call",
        ),
        ({"messages": [*QUESTION, {"role": "function", "content": "x"}]}, "send tool_calls"),
        ({"messages": [*QUESTION, called('{"a": ')]}, "arguments: a JSON object"),
        ({"messages": [*QUESTION, called("[1]")]}, "arguments: a JSON object"),
        ({"messages": [*QUESTION, called("{}", name="a b")]}, "function.name"),
        ({"messages": [*QUESTION, called("{}", kind="custom")]}, "tool_calls.0.type"),
        ({"messages": [*QUESTION, called('{"a": "\\u0000"}')]}, "NUL"),
        ({"messages": [called("{}") | {"role": "user"}]}, "only an assistant"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": "hello"}, "messages"),
        ({"model": 7}, "model"),
        ({"messages": QUESTION * 201}, "send at most 200"),
        ({"messages": [{"role": "user", "content": "x" * 400_001}]}, "at most 400000"),
        ({"metadata": "team a"}, "metadata"),
        ({"top_logprobs": 2}, "needs logprobs=true"),
        ({"logprobs": True, "top_logprobs": 6}, "at most 5 alternatives"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"user": "x" * 2000}, "user"),
    ],
)
def test_what_is_not_supported_is_refused_clearly(body: dict, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        parse(json.dumps({"model": factories.ROUTE, "messages": QUESTION} | body).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[1]",
        b'{"model": "\xff"}',
        b'{"messages":' + b"[" * 100_000,
        b'{"model": "a/b", "messages": [{"role":"user","content":"\\ud800"}]}',
    ],
)
def test_malformed_json_is_a_400(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_text_parts_are_joined_and_developer_means_system() -> None:
    parts = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    asked = parse(json.dumps({"model": factories.ROUTE, "messages": parts}).encode())
    assert [(message.role, message.content) for message in asked.messages] == [
        ("system", "Be kind."),
        ("user", "a\nb"),
    ]


@pytest.mark.parametrize(
    ("body", "header", "session"),
    [
        ({"user": "u"}, "h", "u"),
        ({"user": "u", "safety_identifier": "s"}, "h", "s"),
        ({"safety_identifier": "s", "metadata": {"session": "m"}}, None, "s"),
        ({}, "h", "h"),
        ({"metadata": {"session": "m"}}, "h", "h"),
        ({"metadata": {"session": "m"}}, None, "m"),
        ({}, None, "Where is my parcel?"),
    ],
)
def test_who_asks_decides_the_session(body: dict, header: str | None, session: str) -> None:
    sent = json.dumps({"model": factories.ROUTE, "messages": QUESTION} | body).encode()
    assert parse(sent, header).session == session

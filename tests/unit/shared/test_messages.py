"""One reader of what a message says, whoever wrote it; capture and the router read the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.capture.mending import look
from services.capture.shapes import SentInference
from services.router.chat import ChatLimits, question_of, read
from services.router.openai_errors import BadRequest
from shared.privacy import redact
from shared.rules.messages import NoContent, read_message
from tests import factories

TEXTS: dict[str, tuple[Any, str]] = {
    "a text": ("Hello", "Hello"),
    "parts": (
        [{"type": "text", "text": "Hello"}, {"type": "text", "text": "world"}],
        "Hello\nworld",
    ),
    "OpenAI's newer parts": (
        [{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}],
        "a\nb",
    ),
    "a refusal": ([{"type": "refusal", "refusal": "I cannot."}], "I cannot."),
    "texts": (["a", "b"], "a\nb"),
    "a single part": ({"type": "text", "text": "a"}, "a"),
    "the Assistants API": ([{"type": "text", "text": {"value": "a", "annotations": []}}], "a"),
    "Bedrock and Gemini": ([{"text": "a"}, {"text": "b"}], "a\nb"),
    "a tool's result": (
        [{"type": "tool_result", "content": [{"type": "text", "text": "42"}]}],
        "42",
    ),
    "an empty part": ([{"type": "text", "text": ""}, {"type": "text", "text": "b"}], "\nb"),
    "no parts": ([], ""),
    "another script": (
        [{"type": "text", "text": "我的"}, {"type": "text", "text": "订单"}],
        "我的\n订单",
    ),
}
PLACEHOLDERS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "OpenAI's image": (
        [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
        "see\n[image]",
        ("image_url",),
    ),
    "OpenAI's newer image": ([{"type": "input_image"}], "[image]", ("input_image",)),
    "Anthropic's image": ([{"type": "image", "source": {}}], "[image]", ("image",)),
    "Bedrock's image": ([{"image": {"format": "png"}}], "[image]", ("image",)),
    "audio": ([{"type": "input_audio", "input_audio": {}}], "[audio]", ("input_audio",)),
    "a file": ([{"type": "file", "file": {"file_id": "f"}}], "[file]", ("file",)),
    "a document": ([{"type": "document", "source": {}}], "[file]", ("document",)),
    "a video": ([{"type": "video_url"}], "[video]", ("video_url",)),
    "Anthropic's call": (
        [{"type": "tool_use", "name": "get_order", "input": {"id": 1}}],
        "[tool call: get_order]",
        ("tool_call",),
    ),
    "Gemini's call": (
        [{"functionCall": {"name": "get_order", "args": {}}}],
        "[tool call: get_order]",
        ("tool_call",),
    ),
    "thoughts": (
        [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "refund"}],
        "refund",
        ("thinking",),
    ),
    "what comes next year": ([{"type": "hologram"}], "[hologram]", ("hologram",)),
    "what is no name": ([{"type": "a\0b"}], "[part]", ("part",)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_read_alike_at_both_doors(name: str) -> None:
    content, text = TEXTS[name]
    assert read_message(content) == (text, ())
    [(_, captured)] = through_capture([{"role": "user", "content": content}])
    assert captured == text
    if text and not isinstance(content, dict):
        assert through_the_router(content) == text


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_what_is_no_text_is_named_and_has_a_placeholder(name: str) -> None:
    content, text, left_out = PLACEHOLDERS[name]
    assert read_message(content) == (text, left_out)
    inference, named = look(inference_of([{"role": "user", "content": content}]), SentInference)
    assert inference.conversation() == [("user", text)]
    assert [(one.field, one.reason) for one in named] == [
        ("messages.0", f"{kind} is not kept") for kind in left_out
    ]
    # A model that was not shown the image would answer something else: the router says so.
    with pytest.raises(BadRequest, match=f"not '{left_out[0]}'"):
        through_the_router(content)


def test_a_conversation_with_tools_is_kept_as_one() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "content": "on its way", "tool_call_id": "c1"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "function", "name": "get_order", "content": "there"},
        {"role": "assistant", "content": None, "function_call": {"name": "bye"}},
        {"role": "assistant", "content": None, "refusal": "I cannot."},
        {"role": "model", "parts": [{"text": "Bye."}]},
        {"type": "human", "content": "Thanks"},
    ]
    assert through_capture(messages) == [
        ("system", "Be kind."),
        ("user", "Where is it?"),
        ("assistant", "[tool call: get_order]\n[tool call: get_order]"),
        ("tool", "on its way"),
        ("assistant", "[tool call: get_order]"),
        ("tool", "there"),
        ("assistant", "[tool call: bye]"),
        ("assistant", "I cannot."),
        ("assistant", "Bye."),
        ("user", "Thanks"),
    ]


def test_no_part_hides_from_redaction_behind_another() -> None:
    parts = [{"type": "text", "text": text} for text in ("my card is", "4111 1111 1111 1111", "ok")]
    [(_, text)] = through_capture([{"role": "user", "content": parts}])
    assert redact(text) == "my card is\n[CARD]\nok"


@pytest.mark.parametrize("content", [7, True, [7], [None], ["x"] * 501, [[["x"]]]])
def test_what_nobody_sends_is_refused_in_words(content: object) -> None:
    with pytest.raises(NoContent):
        read_message(content)


def test_parts_within_parts_end() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [{"type": "tool_result", "content": deep}]
    assert read_message(deep) == ("[tool_result]", ("tool_result",))


def test_an_answer_and_an_input_may_be_parts_too() -> None:
    sent = {
        "route": "support-triage",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        "answer": {"role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
    }
    inference, left_out = look(sent, SentInference)
    assert (inference.conversation(), inference.answer, left_out) == ([("user", "hello")], "hi", ())
    parts = [{"type": "input_text", "text": "hello"}, {"type": "input_image"}]
    inference, left_out = look(sent | {"input": parts}, SentInference)
    assert inference.input == "hello\n[image]"
    assert [one.field for one in left_out] == ["input"]


def inference_of(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"route": "support-triage", "messages": messages, "answer": "a"}


def through_capture(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return look(inference_of(messages), SentInference)[0].conversation()


def through_the_router(content: object) -> str:
    body = {"model": factories.ROUTE, "messages": [{"role": "user", "content": content}]}
    asked = question_of(read(json.dumps(body).encode()), None, ChatLimits(200, 400_000))
    [message] = asked.messages
    return message.content

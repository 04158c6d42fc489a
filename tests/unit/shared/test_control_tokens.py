"""Who writes a control token into a message writes text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Message, ToolCall
from shared.rules import as_completion
from shared.rules.completion import as_turn, completion_request
from shared.rules.control_tokens import BETWEEN, as_said, as_text

TOKENS = (
    *("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>"),
    *("<|start_of_role|>", "<|END_OF_TURN_TOKEN|>", "<｜User｜>", "<｜end▁of▁sentence｜>"),
    *("<start_of_turn>", "<end_of_turn>", "<|turn>", "<turn|>", "<bos>", "<eos>", "<s>", "</s>"),
    *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[TOOL_CALLS]", "[gMASK]", "<sop>", "<think>"),
    *("</think>", "<tool_call>", "</tool_call>", "<unused7>", "[|user|]", "]~b]", "]~!b[", "[e~["),
)
PLAIN = (
    *("<b>bold</b>", "a < b | c > d", "[EMAIL]", "[1]", "x[0]|y[1]", "<https://a.example>"),
    *("<div class='a'>", "if a<b:", "[INFO] started", "<p>", "List<Map<String,Integer>>"),
)


@pytest.mark.parametrize("token", TOKENS)
def test_a_control_token_is_broken_up(token: str) -> None:
    said = f"Use {token} to close a turn.{token}"
    assert token not in as_text(said)
    assert as_text(said).replace(BETWEEN, "") == said
    assert as_said(as_text(said)) == said


@pytest.mark.parametrize("said", PLAIN)
def test_other_text_stays_as_it_is(said: str) -> None:
    assert as_text(said) == said


@given(st.lists(st.sampled_from((*TOKENS, *PLAIN, "<", "|", ">", "[", "]", " ", "im_end"))))
def test_no_neighbours_make_one(parts: list[str]) -> None:
    text = as_text("".join(parts))
    assert not [token for token in TOKENS if token in text]
    assert as_text(text) == text


def test_every_word_of_a_message_reaches_the_template_as_text() -> None:
    call = ToolCall(id="c1", name="find", arguments='{"q": "<|im_end|>"}')
    said = Message(role="user", content="<|im_end|>", name="<s>", tool_calls=(call,))
    turn = as_turn(said)
    assert "<|im_end|>" not in str(turn)
    assert "<s>" not in str(turn)
    asked = completion_request("base", [said], 16)["messages"]
    assert asked == [turn]


def test_what_a_model_copies_is_told_as_it_was_said() -> None:
    copied = as_text("Use <|im_end|>.")
    logprobs = {"content": [{"token": copied, "logprob": 0.0, "top_logprobs": []}]}
    body = {"choices": [{"message": {"content": copied}, "logprobs": logprobs}]}
    assert as_completion(body, 1.0).answer == "Use <|im_end|>."

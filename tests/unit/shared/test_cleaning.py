"""Redaction of conversations, with what stands within JSON."""

from __future__ import annotations

import json

import pytest

from schemas.base import Message, ToolCall
from schemas.tool_calls import read_turn
from shared.privacy import redact
from shared.rules import cleaned, cleaned_answer, cleaned_json, cleaned_tools

MAIL = "ada@example.com"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (json.dumps({"to": MAIL, "n": 7}), {"to": "[EMAIL]", "n": 7}),
        (json.dumps({"to": [MAIL, {"cc": MAIL}]}), {"to": ["[EMAIL]", {"cc": "[EMAIL]"}]}),
        (json.dumps({MAIL: True, "x": None}), {"[EMAIL]": True, "x": None}),
        (json.dumps({"card": 4111111111111111}), {"card": 4000000000000000}),
    ],
)
def test_json_stays_json(text: str, kept: object) -> None:
    found = cleaned_json(text, redact)
    assert (found if isinstance(kept, str) else json.loads(found)) == kept
    assert cleaned_json(found, redact) == found, "twice changes nothing"


def test_what_is_no_json_is_text() -> None:
    assert cleaned_json(f'{{"to": "{MAIL}', redact) == '{"to": "[EMAIL]'


def test_every_part_of_a_conversation_is_looked_at() -> None:
    call = ToolCall(id="c1", name="send", arguments=json.dumps({"to": MAIL}))
    messages = (
        Message(role="user", content=MAIL),
        Message(role="assistant", content=MAIL, tool_calls=(call,)),
        Message(role="tool", content=MAIL, tool_call_id="c1", name=MAIL),
    )
    found = cleaned(messages, redact)
    assert MAIL not in "".join(message.model_dump_json() for message in found)
    assert found[1].tool_calls[0].id == "c1" and found[2].tool_call_id == "c1"
    assert found[0].model_dump() == {"role": "user", "content": "[EMAIL]"}


def test_answers_and_tools_too() -> None:
    answer = json.dumps(
        {"tool_calls": [{"name": "send", "arguments": {"to": MAIL, "card": 4111111111111111}}]}
    )
    [call] = read_turn(cleaned_answer(answer, redact)).calls
    assert json.loads(call.arguments) == {"to": "[EMAIL]", "card": 4000000000000000}
    assert cleaned_answer(f"Write to {MAIL}", redact) == "Write to [EMAIL]"
    [tool] = cleaned_tools([{"function": {"description": MAIL}}], redact)
    assert tool == {"function": {"description": "[EMAIL]"}}

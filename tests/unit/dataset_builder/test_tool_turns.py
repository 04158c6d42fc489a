"""Conversations with calls of tools: they part questions, keep their form, and are redacted."""

from __future__ import annotations

import json

from schemas.base import Message, ToolCall
from services.dataset_builder.curate import curate
from services.dataset_builder.turns import encode_sent
from tests import factories
from tests.unit.dataset_builder.test_curate import row

SPEC = factories.spec(labels=("No.", "Yes."))


def asked(arguments: str, call_id: str = "c1", result: str = "found") -> str:
    call = ToolCall(id=call_id, name="find", arguments=arguments)
    return encode_sent(
        (
            Message(role="user", content="Is it there?"),
            Message(role="assistant", content="", tool_calls=(call,)),
            Message(role="tool", content=result, tool_call_id=call_id, name="find"),
        )
    )


def test_what_was_called_is_a_part_of_the_question() -> None:
    rows = [
        row(1, "", "No.", messages=asked('{"id": 6}')),
        row(2, "", "Yes.", messages=asked('{"id": 7}')),
    ]
    curated = curate(rows, SPEC)
    assert curated.lost == []
    kept = [
        tuple(Message(**turn) for turn in json.loads(one.question.asked))
        for one in curated.training
    ]
    assert [turns[1].tool_calls[0].arguments for turns in kept] == ['{"id": 6}', '{"id": 7}']
    assert {turns[2].tool_call_id for turns in kept} == {"c1"}


def test_ids_of_calls_and_the_spelling_of_arguments_make_no_other_question() -> None:
    rows = [
        row(1, "", "No.", messages=asked('{"id": 7, "all": true}')),
        row(2, "", "Yes.", messages=asked('{"all":true,"id":7.0}', call_id="c2")),
    ]
    assert {one.reason for one in curate(rows, SPEC).lost} == {"ambiguous"}


def test_arguments_are_redacted_and_stay_json() -> None:
    arguments = '{"to": "eve@example.com", "card": 4111111111111111}'
    [one] = curate([row(1, "", "No.", messages=asked(arguments))], SPEC).training
    turns = json.loads(one.question.asked)
    assert json.loads(turns[1]["tool_calls"][0]["arguments"]) == {
        "to": "[EMAIL]",
        "card": 4000000000000000,
    }
    assert one.question.was_redacted


def test_turns_without_calls_are_kept_as_before() -> None:
    said = encode_sent((Message(role="user", content="Hi"),))
    assert said == '[{"role":"user","content":"Hi"}]'


def test_calls_are_no_texts_to_learn() -> None:
    free = factories.spec(task="conversation", labels=(), minimum_per_label=None)
    called = '{"tool_calls": [{"name": "find", "arguments": {"id": 7}}]}'
    curated = curate([row(1, "Find it.", called), row(2, "Say it.", "7")], free)
    assert [one.reason for one in curated.lost] == ["calls_tools"]
    assert len(curated.training) == 1

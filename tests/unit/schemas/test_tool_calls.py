"""A turn that calls functions, written as an answer and read back."""

from __future__ import annotations

import pytest

from schemas.tool_calls import Called, Turn, read_turn, written


@pytest.mark.parametrize(
    "turn",
    [
        Turn("", (Called("find", '{"id":7}'),)),
        Turn("Let me look.", (Called("find", '{"id":7}'), Called("find", '{"id":8}'))),
        Turn("", (Called("find", '{"text":"é \\" \\n 明日"}'),)),
        Turn("", (Called("find", '{"id": 7'),)),
        Turn("", (Called("find", "[1]"),)),
        Turn("", (Called("now", "{}"),)),
        Turn("", (Called("add", '{"of":123456789012345678901234567890}'),)),
    ],
)
def test_what_was_written_is_read_back(turn: Turn) -> None:
    assert read_turn(written(turn)) == turn


def test_no_arguments_are_an_empty_object() -> None:
    assert read_turn(written(Turn("", (Called("now", ""),)))).calls == (Called("now", "{}"),)


@pytest.mark.parametrize(
    "text",
    [
        "It arrives tomorrow.",
        "",
        "{",
        "{}",
        "[]",
        '{"tool_calls": []}',
        '{"tool_calls": [{"name": "find"}]}',
        '{"tool_calls": [{"name": 7, "arguments": {}}]}',
        '{"tool_calls": [{"name": "find", "arguments": 7}]}',
        '{"tool_calls": [{"name": "find", "arguments": {}}], "more": 1}',
        '{"content": 7, "tool_calls": [{"name": "find", "arguments": {}}]}',
    ],
)
def test_anything_else_is_text(text: str) -> None:
    assert read_turn(text) == Turn(text) and written(Turn(text)) == text


def test_it_is_laid_out_for_people() -> None:
    assert written(Turn("", (Called("find", '{"id":7}'),))).splitlines()[3:5] == [
        '      "name": "find",',
        '      "arguments": {',
    ]

"""What counts in an answer, by the task of the route."""

from __future__ import annotations

import pytest

from schemas.answers import is_free_text, normalise, same_answer, trimmed, well_formed
from tests import factories


def spec(task: str, **changes):
    return factories.spec(**{"task": task, "labels": ()} | changes)


TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"


@pytest.mark.parametrize(
    "other",
    [
        TABLE.replace("\n", " "),
        TABLE.replace("| 1", "|  1"),
        "  " + TABLE,
        TABLE.replace("\n", "\n\n", 1),
        TABLE.replace("\n", "  \n", 1),
        TABLE.replace("| a", "|\ta"),
        TABLE.replace("| a", "|\u00a0a"),
    ],
    ids=ascii,
)
def test_white_space_is_what_a_format_is_about(other: str) -> None:
    assert not same_answer(TABLE, other, spec("format"))


@pytest.mark.parametrize("other", [TABLE + "\n", TABLE + "\n\n", TABLE.replace("\n", "\r\n")])
def test_but_for_line_breaks_at_the_end_and_their_kind(other: str) -> None:
    assert same_answer(TABLE, other, spec("format"))
    assert trimmed(f"  {other}", spec("format")) == f"  {TABLE}"


def test_an_extraction_without_a_schema_is_compared_word_by_word() -> None:
    extraction = spec("extraction")
    assert same_answer("Ada\n Lovelace ", "Ada Lovelace", extraction)
    assert same_answer("l\u00e9", "le\u0301", extraction)
    for other in ("ada lovelace", "Ada Lovelace.", "Ａda Lovelace", "Ada\u200b Lovelace"):
        assert not same_answer("Ada Lovelace", other, extraction)


@pytest.mark.parametrize("task", ["summarisation", "conversation"])
def test_free_text_is_equal_to_its_own_bytes_alone(task: str) -> None:
    free = spec(task)
    assert is_free_text(free)
    assert same_answer("Hello there.", "Hello there.\n", free)
    for other in ("hello there.", "Hello  there.", "Hello there", "Ｈello there.", "Hello\nthere."):
        assert not same_answer("Hello there.", other, free)
    assert well_formed("anything", free) and not well_formed(" \n", free)
    summary = spec(task, output_schema={"type": "object"})
    assert is_free_text(summary)
    assert well_formed('{"summary": "x"}', summary) and not well_formed("x", summary)


@pytest.mark.parametrize("task", ["classification", "extraction", "format"])
def test_other_tasks_can_be_compared(task: str) -> None:
    assert not is_free_text(factories.spec(task=task))


def test_a_normal_form_is_its_own_normal_form() -> None:
    for route, answer in (
        (factories.spec(), '"Delivery".'),
        (factories.spec(), "No idea!"),
        (spec("format"), TABLE + "\n"),
        (spec("extraction"), " a  b "),
        (spec("extraction", output_schema={}), '{"b": 1e400, "a": [1.0, -0.0025]}'),
        (spec("conversation"), " Hi\n"),
    ):
        once = normalise(answer, route)
        assert normalise(once, route) == once

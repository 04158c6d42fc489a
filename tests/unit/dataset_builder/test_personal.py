"""What a route has instead of redaction stays in its rows; all else is redacted again."""

from __future__ import annotations

import json

import pytest

from services.dataset_builder.curate import curate
from shared.privacy import redact
from tests import factories
from tests.unit.dataset_builder.test_curate import row, turns

ASKED = "Ann, (415) 555-2671, ann@acme.com, key sk-ant-0123456789abcdefghij"
ANSWER = '{"phone": 4155552671, "mail": "ann@acme.com"}'


@pytest.mark.parametrize("treatment", ["surrogate", "keep"])
def test_the_rows_have_what_was_recorded(treatment: str) -> None:
    spec = factories.spec(task="extraction", labels=(), personal={"phone": treatment})
    [one] = curate([row(1, "", ANSWER, messages=turns("", ASKED))], spec).training
    asked = json.loads(one.question.asked)[-1]["content"]
    assert asked == "Ann, (415) 555-2671, [EMAIL], key [SECRET]"
    assert one.answer == '{"phone": 4155552671, "mail": "[EMAIL]"}'


def test_a_route_that_says_nothing_redacts_again() -> None:
    spec = factories.spec(task="extraction", labels=())
    [one] = curate([row(1, "", ANSWER, messages=turns("", ASKED))], spec).training
    assert json.loads(one.question.asked)[-1]["content"] == redact(ASKED)
    assert one.answer == redact(ANSWER)


def test_questions_that_differ_in_their_numbers_are_on_one_side_of_the_split() -> None:
    """As many as would count as a form that all share."""
    spec = factories.spec(task="extraction", labels=(), personal={"phone": "surrogate"})
    rows = [
        row(
            n,
            "",
            f'{{"phone": "{number}"}}',
            messages=turns("", f"Call me back about the blue lamp, please: {number}"),
        )
        for n, number in enumerate(f"(415) 555-{at}" for at in range(1000, 1040))
    ]
    curated = curate(rows, spec)
    assert len(curated.training) == 40 and len({one.cluster for one in curated.training}) == 1

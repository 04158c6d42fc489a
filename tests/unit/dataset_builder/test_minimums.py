"""The least a training set needs, and how a refusal says it."""

from collections import Counter

import pytest

from schemas.route import MINIMUM_ROWS
from services.dataset_builder.assemble import TooFewRows, Verdicts, assemble
from services.dataset_builder.minimums import needs
from tests import factories
from tests.unit.dataset_builder import corpus


def rows_of(**counts: int):
    texts = [text for text, _ in corpus.messages()]
    answers = list(Counter(counts).elements())
    return [corpus.row(number, texts[number], answer) for number, answer in enumerate(answers)]


def verdicts(rows) -> Verdicts:
    return Verdicts(rows, Counter())


def test_refusal_says_which_label_lacks_how_many_and_what_to_do() -> None:
    spec = factories.spec(minimum_per_label=10)
    with pytest.raises(TooFewRows) as refused:
        assemble(verdicts(rows_of(delivery=12, refund=7)), spec, None)
    text = str(refused.value)
    assert "label 'refund' has 7 of 10 rows" in text
    assert "label 'password' has 0 of 10 rows" in text
    assert "delivery" not in text
    assert "review at least 13 more answers" in text
    assert "minimum_per_label" in text
    assert refused.value.missing == 13


def test_refusal_says_what_was_left_out() -> None:
    doubled = rows_of(delivery=3) + [
        corpus.row(100 + n, corpus.messages()[0][0], "delivery") for n in range(4)
    ]
    with pytest.raises(TooFewRows, match="left out so far: 4 duplicate"):
        assemble(verdicts(doubled), factories.spec(minimum_per_label=10), None)


@pytest.mark.parametrize("task", ["extraction", "format", "summarisation", "conversation"])
def test_other_tasks_count_all_rows(task: str) -> None:
    spec = factories.spec(task=task, labels=(), minimum_per_label=None)
    assert needs(spec) == (0, MINIMUM_ROWS[task])
    with pytest.raises(
        TooFewRows, match=f"the training set has 3 of {MINIMUM_ROWS[task]} rows.*minimum_rows"
    ):
        assemble(verdicts(rows_of(a=1, b=1, c=1)), spec, None)


def test_route_overrides_both_minimums() -> None:
    spec = factories.spec(minimum_per_label=3, minimum_rows=20)
    with pytest.raises(TooFewRows, match="the training set has 9 of 20 rows"):
        assemble(verdicts(rows_of(delivery=3, refund=3, password=3)), spec, None)
    enough = assemble(verdicts(rows_of(delivery=7, refund=7, password=6)), spec, None)
    assert enough.facts["counts"]["train"] > 0

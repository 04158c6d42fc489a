"""The least a training set needs, and how a refusal says it."""

from collections import Counter

import pytest

from schemas.route import MINIMUM_ROWS
from services.dataset_builder.assemble import TooFewRows
from services.dataset_builder.minimums import needs
from tests import factories
from tests.unit.dataset_builder import corpus


def rows_of(**counts: int):
    texts = [text for text, _ in corpus.messages()]
    answers = list(Counter(counts).elements())
    return [corpus.row(number, texts[number], answer) for number, answer in enumerate(answers)]


def test_refusal_says_which_label_lacks_how_many_and_what_to_do() -> None:
    spec = factories.spec(minimum_per_label=10)
    with pytest.raises(TooFewRows) as refused:
        corpus.assembled(rows_of(delivery=12, refund=7), spec)
    text = str(refused.value)
    assert "label 'refund' has 7 of 10 verdicts" in text
    assert "label 'password' has 0 of 10 verdicts" in text
    assert "delivery" not in text
    assert "review at least 13 more answers" in text
    assert "minimum_per_label" in text
    assert refused.value.missing == 13


def test_refusal_says_what_was_left_out() -> None:
    unknown = [corpus.row(100 + n, corpus.messages()[50 + n][0], "shipping") for n in range(4)]
    with pytest.raises(TooFewRows, match="left out so far: 4 unknown_label"):
        corpus.assembled(rows_of(delivery=3) + unknown, factories.spec(minimum_per_label=10))


def test_a_label_that_has_nothing_more_to_say_does_not_block() -> None:
    """500 verdicts in eight ways, and what the refusal advises of another label helps."""
    spec = corpus.labelled(["thanks", "other"]).model_copy(update={"minimum_per_label": 50})
    thanks = [corpus.row(n, f"thank you{'!' * (n % 8)}", "thanks") for n in range(500)]
    others = [corpus.row(600 + n, text, "other") for n, (text, _) in enumerate(corpus.messages())]
    with pytest.raises(TooFewRows, match=r"label 'other' has 8 of 50 verdicts: .* at least 42"):
        corpus.assembled(thanks + others[:8], spec)
    assert corpus.assembled(thanks + others[:50], spec).facts["counts"]["train"] > 0


@pytest.mark.parametrize("task", ["extraction", "format", "summarisation", "conversation"])
def test_other_tasks_count_all_rows(task: str) -> None:
    spec = factories.spec(task=task, labels=(), minimum_per_label=None)
    assert needs(spec) == (0, MINIMUM_ROWS[task])
    with pytest.raises(
        TooFewRows, match=f"the training set has 3 of {MINIMUM_ROWS[task]} verdicts.*minimum_rows"
    ):
        corpus.assembled(rows_of(a=1, b=1, c=1), spec)


def test_route_overrides_both_minimums() -> None:
    spec = factories.spec(minimum_per_label=3, minimum_rows=20)
    with pytest.raises(TooFewRows, match="the training set has 9 of 20 verdicts"):
        corpus.assembled(rows_of(delivery=3, refund=3, password=3), spec)
    enough = corpus.assembled(rows_of(delivery=7, refund=7, password=6), spec)
    assert enough.facts["counts"]["train"] > 0

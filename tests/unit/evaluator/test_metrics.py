"""Scores by hand-countable examples."""

import pytest

from services.evaluator.metrics import (
    class_scores,
    confused_pairs,
    confusion,
    field_f1,
    macro_f1,
    percentile,
)

WANT = ["a", "a", "a", "b", "b", "c"]
GOT = ["a", "a", "b", "b", "x", "x"]


def test_per_class_scores_and_their_mean() -> None:
    a, b, c = class_scores(WANT, GOT)
    assert (a.precision, a.recall, a.f1, a.support) == (
        1.0,
        pytest.approx(2 / 3),
        pytest.approx(0.8),
        3,
    )
    assert (b.precision, b.recall) == (0.5, 0.5)
    assert c.f1 == 0.0
    assert macro_f1(WANT, GOT) == pytest.approx((0.8 + 0.5 + 0.0) / 3)


def test_answers_outside_the_labels_share_one_column() -> None:
    columns, matrix = confusion(WANT, GOT)
    assert columns == ["a", "b", "c", "(other)"]
    assert matrix == [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]]


def test_mistakes_are_listed_by_how_often_they_happen() -> None:
    assert confused_pairs(["a", "a", "b"], ["b", "b", "a"]) == [("a", "b", 2), ("b", "a", 1)]


def test_fields_of_records() -> None:
    assert field_f1(['{"x":1,"y":2}'], ['{"x":1,"y":3}']) == 0.5
    assert field_f1(['{"x":1}'], ["not json"]) == 0.0


def test_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 95) == 0.0
    assert percentile([1, 2, 3], 50) == 2.0

"""Scores of one arm on the held-out rows: pure functions over (expected, answered) pairs of
normalised answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.answers import canonical_fields


@dataclass(frozen=True)
class ClassScore:
    """How well one label is told apart."""

    label: str
    support: int
    precision: float
    recall: float
    f1: float


def class_scores(expected: Sequence[str], answered: Sequence[str]) -> list[ClassScore]:
    """Score each label that occurs among the expected ones.

    An answer outside them is a miss, not a class.
    """
    pairs = Counter(zip(expected, answered, strict=True))
    asked = Counter(expected)
    given = Counter(answered)
    return [
        _class_score(label, pairs[label, label], asked[label], given[label])
        for label in sorted(asked)
    ]


def _class_score(label: str, hits: int, asked: int, given: int) -> ClassScore:
    precision = hits / given if given else 0.0
    recall = hits / asked
    f1 = 2 * hits / (asked + given)
    return ClassScore(label, asked, precision, recall, f1)


def macro_f1(expected: Sequence[str], answered: Sequence[str]) -> float:
    scores = class_scores(expected, answered)
    return sum(score.f1 for score in scores) / len(scores) if scores else 0.0


def confusion(
    expected: Sequence[str], answered: Sequence[str], other: str = "(other)"
) -> tuple[list[str], list[list[int]]]:
    """Return the columns and the matrix: rows are expected labels, columns answered ones.

    Answers that are no expected label share the last column, `other`.
    """
    labels = sorted(set(expected))
    columns = [*labels, other] if set(answered) - set(labels) else labels
    counts = Counter(
        (want, got if got in set(labels) else other)
        for want, got in zip(expected, answered, strict=True)
    )
    return columns, [[counts[want, got] for got in columns] for want in labels]


def confused_pairs(
    expected: Sequence[str], answered: Sequence[str], most: int = 5
) -> list[tuple[str, str, int]]:
    """Return (expected, answered, how often), the most frequent mistakes first.

    They say what to collect next.
    """
    mistakes = Counter(
        (want, got) for want, got in zip(expected, answered, strict=True) if want != got
    )
    return [(want, got, count) for (want, got), count in mistakes.most_common(most)]


def field_f1(expected: Sequence[str], answered: Sequence[str]) -> float:
    """Return the micro F1 over (field, value) pairs of the top level, for extraction.

    An unparsable answer has no fields.
    """
    hits = wanted = given = 0
    for want, got in zip(map(_fields, expected), map(_fields, answered), strict=True):
        hits += len(want & got)
        wanted += len(want)
        given += len(got)
    return 2 * hits / (wanted + given) if wanted + given else 0.0


def _fields(answer: str) -> set[tuple[str, str]]:
    try:
        return set(canonical_fields(answer).items())
    except ValueError:
        return set()


def percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0

"""What a verdict means for a route with labels, with a schema, and with free text."""

import pytest

from services.review.verdicts import (
    ApprovedUnusable,
    CheckedVerdict,
    CorrectionMissing,
    MalformedAnswer,
    UnknownLabel,
    check_verdict,
)
from tests import factories

LABELS = factories.spec()
JSON = factories.spec(task="extraction", labels=(), output_schema={"type": "object"})
TEXT = factories.spec(task="summarisation", labels=())


@pytest.mark.parametrize(
    ("verdict", "answer", "model", "spec", "settled"),
    [
        ("approved", None, " Delivery. ", LABELS, CheckedVerdict("approved", "delivery")),
        ("corrected", "REFUND", "delivery", LABELS, CheckedVerdict("corrected", "refund")),
        ("corrected", "delivery", "Delivery", LABELS, CheckedVerdict("approved", "delivery")),
        ("rejected", "ignored", "delivery", LABELS, CheckedVerdict("rejected", None)),
        (
            "corrected",
            '{"b": 1, "a": 2}',
            '{"a":2,"b":1}',
            JSON,
            CheckedVerdict("approved", '{"b": 1, "a": 2}'),
        ),
        ("corrected", " Better. ", "Worse.", TEXT, CheckedVerdict("corrected", "Better.")),
    ],
)
def test_settles(verdict, answer, model, spec, settled) -> None:
    assert check_verdict(verdict, answer, model, spec) == settled


@pytest.mark.parametrize(
    ("verdict", "answer", "model", "spec", "error"),
    [
        ("corrected", "parcel", "delivery", LABELS, UnknownLabel),
        ("corrected", "  ", "delivery", LABELS, CorrectionMissing),
        ("corrected", None, "x", TEXT, CorrectionMissing),
        ("approved", None, "I think it is delivery", LABELS, ApprovedUnusable),
        ("corrected", "{", "{}", JSON, MalformedAnswer),
        ("approved", None, "{", JSON, ApprovedUnusable),
    ],
)
def test_refuses(verdict, answer, model, spec, error) -> None:
    with pytest.raises(error):
        check_verdict(verdict, answer, model, spec)


def test_an_unknown_label_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownLabel, match="delivery, refund, password"):
        check_verdict("corrected", "parcel", "delivery", LABELS)

"""What a verdict means for a route with labels, with a schema, and with free text."""

import json

import pytest

from services.review.verdicts import (
    ApprovedUnusable,
    CheckedVerdict,
    CorrectionMissing,
    MalformedAnswer,
    UncallableAnswer,
    UnknownLabel,
    check_verdict,
)
from tests import factories

LABELS = factories.spec()
JSON = factories.spec(task="extraction", labels=(), output_schema={"type": "object"})
INVOICE = factories.spec(
    task="extraction",
    labels=(),
    output_schema={
        "type": "object",
        "required": ["total"],
        "properties": {"total": {"type": "number"}},
    },
)
TEXT = factories.spec(task="summarisation", labels=())
TABLE = factories.spec(task="format", labels=())
CLOSE = factories.spec(labels=("yes!", "yes", ".net", "net"))


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
        ("corrected", "Good day.", "good day.", TEXT, CheckedVerdict("corrected", "Good day.")),
        ("corrected", "a\n b", "a b", TEXT, CheckedVerdict("corrected", "a\n b")),
        ("corrected", "Same.\n", "Same.", TEXT, CheckedVerdict("approved", "Same.")),
        ("corrected", "a\n  b", "a\n b", TABLE, CheckedVerdict("corrected", "a\n  b")),
        ("corrected", "  a\n", "a", TABLE, CheckedVerdict("corrected", "  a")),
        ("corrected", "a\tb", "a b", TABLE, CheckedVerdict("corrected", "a\tb")),
        ("corrected", "a\n\nb", "a\nb", TABLE, CheckedVerdict("corrected", "a\n\nb")),
        ("corrected", " a\n", " a", TABLE, CheckedVerdict("approved", " a")),
        ("approved", None, "  a\n", TABLE, CheckedVerdict("approved", "  a")),
        (
            "corrected",
            '{"total": 1e2}',
            '{"total":100.0}',
            INVOICE,
            CheckedVerdict("approved", '{"total": 1e2}'),
        ),
        (
            "corrected",
            '{"total": 9007199254740993}',
            '{"total": 9007199254740992}',
            INVOICE,
            CheckedVerdict("corrected", '{"total": 9007199254740993}'),
        ),
        ("corrected", "yes", "yes!", CLOSE, CheckedVerdict("corrected", "yes")),
        ("corrected", "Yes!", "yes!", CLOSE, CheckedVerdict("approved", "yes!")),
        ("approved", None, "“.Net”", CLOSE, CheckedVerdict("approved", ".net")),
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
        ("approved", None, "[" * 2000, JSON, ApprovedUnusable),
        ("corrected", "[" * 2000, "{}", JSON, MalformedAnswer),
        ("approved", None, "[]", INVOICE, ApprovedUnusable),
        ("approved", None, "null", INVOICE, ApprovedUnusable),
        ("approved", None, '"sorry"', INVOICE, ApprovedUnusable),
        ("approved", None, '{"total": "1"}', INVOICE, ApprovedUnusable),
        ("corrected", '{"total": NaN}', "{}", INVOICE, MalformedAnswer),
        ("corrected", '{"total": 1, "total": 2}', "{}", INVOICE, MalformedAnswer),
    ],
)
def test_refuses(verdict, answer, model, spec, error) -> None:
    with pytest.raises(error):
        check_verdict(verdict, answer, model, spec)


FIND = (
    {
        "type": "function",
        "function": {
            "name": "find",
            "parameters": {"type": "object", "required": ["id"]},
        },
    },
)


def call(**arguments: int) -> str:
    return json.dumps({"tool_calls": [{"name": "find", "arguments": arguments}]})


@pytest.mark.parametrize(
    ("answer", "model", "verdict"),
    [
        (call(id=8), call(id=7), "corrected"),
        (call(id=7), call(id=7), "approved"),
        ("Which parcel?", call(id=7), "corrected"),
        (call(id=7), "I do not know.", "corrected"),
    ],
)
def test_a_call_is_corrected_as_json(answer: str, model: str, verdict: str) -> None:
    settled = check_verdict("corrected", answer, model, TEXT, FIND)
    assert settled == CheckedVerdict(verdict, answer)


@pytest.mark.parametrize(
    "answer", [call(), call(id=7).replace("find", "lose"), call(id=7).replace('{"id": 7}', '"x"')]
)
def test_a_call_that_cannot_be_made_is_neither_approved_nor_a_correction(answer: str) -> None:
    with pytest.raises(ApprovedUnusable):
        check_verdict("approved", None, answer, TEXT, FIND)
    with pytest.raises(UncallableAnswer):
        check_verdict("corrected", answer, "x", TEXT, FIND)
    assert check_verdict("approved", None, answer, TEXT).answer == answer, "a text without tools"


def test_an_unknown_label_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownLabel, match="delivery, refund, password"):
        check_verdict("corrected", "parcel", "delivery", LABELS)


def test_a_correction_that_breaks_the_schema_is_told_where_and_nothing_of_its_text() -> None:
    with pytest.raises(MalformedAnswer, match="properties/total/type") as refused:
        check_verdict("corrected", '{"total": "SECRET"}', "{}", INVOICE)
    assert "SECRET" not in str(refused.value)

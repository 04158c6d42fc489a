"""Which replies count as right: by the task, and never one that breaks the format."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.base import Confidence, Message
from schemas.route import RouteSpec
from services.evaluator.findings import arm_result
from services.evaluator.heldout import ArmAnswers, Contender, HeldOutRow, mark
from services.evaluator.metrics import field_f1
from services.evaluator.observed import answer_label
from shared.rules import Completion
from tests import factories

ASKED = (Message(role="user", content="?"),)
SURE = Confidence(score=0.9, min_logprob=-0.1, first_margin=1.0, tokens=1)
INVOICE = factories.spec(
    task="extraction",
    labels=(),
    output_schema={
        "type": "object",
        "required": ["total"],
        "properties": {"total": {"type": "number"}},
    },
)
FORMAT = factories.spec(task="format", labels=())
LABELS = factories.spec(labels=("退款", "订单", ".net", "net"))


def held_out(*pairs: tuple[str, str]) -> list[HeldOutRow]:
    """The rows of pairs of what is right and what was said."""
    return [HeldOutRow(str(i), "audit", ASKED, right) for i, (right, _) in enumerate(pairs)]


def marked(spec: RouteSpec, *pairs: tuple[str, str]) -> ArmAnswers:
    replies = [Completion(said, SURE, -0.1) for _, said in pairs]
    return mark(Contender("base"), held_out(*pairs), replies, spec)


@pytest.mark.parametrize(
    ("spec", "right", "said", "correct", "formatted"),
    [
        (LABELS, "退款", "退款。", True, True),
        (LABELS, "退款", "\u200b退款", True, True),
        (LABELS, "net", ".NET", False, True),
        (LABELS, "退款", "我要退款", False, False),
        (INVOICE, '{"total": 100}', '{"total": 1e2}', True, True),
        (INVOICE, '{"total": 100}', '{"total": 100.01}', False, True),
        (INVOICE, '{"total": 100}', '{"total": "100"}', False, False),
        (INVOICE, "[" * 2000, "[" * 2000, False, False),
        (INVOICE, '{"total": 1}', "[" * 2000, False, False),
        (INVOICE, "[]", "[]", False, False),
        (INVOICE, "null", "null", False, False),
        (INVOICE, '{"total": 1}', '{"total": 1, "total": 1}', False, False),
        (FORMAT, "  a\n  b", "  a\n  b\n", True, True),
        (FORMAT, "  a\n  b", "a\n  b", False, True),
        (FORMAT, "a\nb", "a b", False, True),
        (FORMAT, "a", " ", False, False),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_replies_are_marked(
    spec: RouteSpec, right: str, said: str, correct: bool, formatted: bool
) -> None:
    [reply] = marked(spec, (right, said)).replies
    assert (reply.correct, reply.formatted) == (correct, formatted)


def test_accuracy_counts_what_is_marked_right() -> None:
    pairs = [('{"total": 1}', '{"total": 1.0}'), ("[]", "[]"), ('{"total": 2}', "[" * 2000)]
    answers = marked(INVOICE, *pairs)
    result = arm_result(held_out(*pairs), answers, INVOICE, strata={})
    assert (result.accuracy, result.format_compliance) == (
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )


@pytest.mark.parametrize(
    ("want", "got", "share"),
    [
        ('{"a": 1, "b": 2}', '{"a": 1.0, "b": 3}', 0.5),
        ('{"a": 9007199254740993}', '{"a": 9007199254740992}', 0.0),
        ('{"a": 1}', "[" * 2000, 0.0),
        ('{"a": 1}', "null", 0.0),
    ],
)
def test_fields_are_compared_by_value(want: str, got: str, share: float) -> None:
    assert field_f1([want], [got]) == share


@pytest.mark.parametrize(
    ("spec", "answer", "label"),
    [
        (LABELS, "「订单」", "订单"),
        (LABELS, "订单 or 退款", "(malformed)"),
        (INVOICE, "[" * 2000, "(malformed)"),
        (INVOICE, "null", "(malformed)"),
        (INVOICE, '{"total": 1}', "(well formed)"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_what_is_watched_of_an_answer_is_its_label_or_its_form(
    spec: RouteSpec, answer: str, label: Any
) -> None:
    assert answer_label(answer, spec) == label

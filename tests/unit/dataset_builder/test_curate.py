"""What is left out of training, and why."""

import json

import pytest

from services.dataset_builder.curate import components, curate
from services.dataset_builder.prepare import length_outliers
from tests import factories
from tests.unit.dataset_builder.corpus import row

SPEC = factories.spec()
ASK = "My parcel was due on Monday and it is still not here, where can it be?"
ASK_AGAIN = "My parcel was due on Monday and it is still not here, where could it be?"
OTHER = "I cannot log in any more, the reset link does not work."


def kept(*rows, spec=SPEC):
    curated = curate(rows, spec)
    return [item.row.review_id[-1] for item in curated.training], {
        k: v for k, v in curated.dropped.items() if v
    }


def test_exact_duplicates_ignore_case_space_and_order_numbers() -> None:
    rows = row(1, "Where is order 4711?", "delivery"), row(2, "where is  ORDER 9822?", "delivery")
    assert kept(*rows) == (["2"], {"duplicate": 1})


def test_near_duplicates_leave_the_newest() -> None:
    assert kept(
        row(1, ASK, "delivery"), row(2, ASK_AGAIN, "delivery"), row(3, OTHER, "password")
    ) == (["2", "3"], {"near_duplicate": 1})


def test_two_thirds_settle_a_contradiction() -> None:
    rows = [row(n, ASK, answer) for n, answer in ((1, "delivery"), (2, "delivery"), (3, "refund"))]
    assert kept(*rows) == (["2"], {"contradicted": 1, "duplicate": 1})


def test_unsettled_contradiction_leaves_nothing() -> None:
    assert kept(row(1, ASK, "delivery"), row(2, ASK_AGAIN, "refund")) == ([], {"ambiguous": 2})


def test_a_correction_overrules_earlier_approvals() -> None:
    assert kept(row(1, ASK, "refund", label_source="approved"), row(2, ASK, "delivery")) == (
        ["2"],
        {"contradicted": 1},
    )


def test_an_approval_does_not_overrule_a_correction() -> None:
    assert kept(row(1, ASK, "refund"), row(2, ASK, "delivery", label_source="approved")) == (
        [],
        {"ambiguous": 2},
    )


def test_what_resembles_an_audit_row_is_not_trained_on_and_the_audit_row_stays() -> None:
    curated = curate(
        [
            row(1, ASK, "delivery"),
            row(2, ASK_AGAIN, "delivery", audit=True),
            row(3, OTHER, "password"),
        ],
        SPEC,
    )
    assert [item.row.review_id[-1] for item in curated.training] == ["3"]
    assert [item.row.review_id[-1] for item in curated.audit] == ["2"]
    assert curated.dropped["near_audit"] == 1


def test_labels_the_route_no_longer_knows_are_dropped_and_known_ones_take_its_spelling() -> None:
    curated = curate([row(1, ASK, "shipping"), row(2, OTHER, ' "Password". ')], SPEC)
    assert [item.row.answer for item in curated.training] == ["password"]
    assert curated.dropped["unknown_label"] == 1


def test_personal_data_that_slipped_through_is_redacted_and_counted() -> None:
    curated = curate(
        [row(1, f"{ASK}\nmail eve@example.com", "delivery"), row(2, OTHER, "password")], SPEC
    )
    assert curated.noticed["redacted"] == 1
    assert "eve@example.com" not in curated.training[0].row.messages
    assert "[EMAIL]" in json.loads(curated.training[0].row.messages)[0]["content"]


def test_empty_input_is_dropped() -> None:
    assert kept(row(1, " \n ", "delivery")) == ([], {"empty": 1})


@pytest.mark.parametrize(
    ("answers", "expected"), [(("12 EUR", "15 EUR"), ["1", "2"]), (("12 EUR", "12 EUR"), ["2"])]
)
def test_an_extraction_may_hang_on_one_digit(answers: tuple[str, str], expected: list[str]) -> None:
    spec = factories.spec(task="extraction", labels=(), minimum_per_label=None)
    text = (
        "Please pay the amount of {} EUR by the end of the month to our account, thank you very"
        " much."
    )
    rows = [
        row(n, text.format(amount), answer)
        for n, amount, answer in zip((1, 2), (12, 15), answers, strict=True)
    ]
    assert kept(*rows, spec=spec)[0] == expected


def test_json_answers_that_do_not_parse_are_dropped() -> None:
    spec = factories.spec(
        task="extraction", labels=(), minimum_per_label=None, output_schema={"type": "object"}
    )
    assert kept(row(1, ASK, "{oops"), row(2, OTHER, '{"a": 1}'), spec=spec) == (
        ["2"],
        {"malformed": 1},
    )


def test_far_longer_inputs_are_counted() -> None:
    assert length_outliers([40, 50, 60, 45, 55, 52, 48, 51, 20_000]) == 1
    assert length_outliers([50] * 20) == 0


def test_components_name_the_smallest_member() -> None:
    assert components(6, [(4, 2), (2, 5), (0, 1)]) == [0, 0, 2, 3, 2, 2]

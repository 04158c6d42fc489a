"""Labels as answers name them: what a reader cannot see makes no difference, and no tolerance makes
two labels of one route equal.
"""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.answers import check_labels, label_of, normalise, same_answer, well_formed
from tests import factories

UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202e\u2066\u061c\u180e\ufe0f\u3164\x00\x1b"
# Routes whose labels differ in little, each of them usable.
CLOSE = (
    (".net", "net"),
    ("yes!", "yes"),
    ("!", "?"),
    ("C", "C++", "C#"),
    ("0.5", "5", ".5", "-5"),
    ("a!", "!a", "a"),
    ("(other)", "other", "[other]"),
    ("'s", "s"),
    ("退款", "退款。", "退货"),
    ("نعم", "نعم؟"),
    ("हाँ", "हाँ।"),
    ("f()", "f"),
    ("*", "**"),
)


def spec(*labels: str):
    return factories.spec(labels=labels)


@pytest.mark.parametrize("labels", CLOSE, ids=str)
def test_labels_that_differ_in_little_are_told_apart(labels: tuple[str, ...]) -> None:
    route = spec(*labels)
    check_labels(labels)
    for label in labels:
        assert label_of(label, route) == label
        assert label_of(f"  {label}\n", route) == label
        assert label_of(f'"{label}"', route) == label
        assert label_of(f"\u200e{label}\ufeff", route) == label
    assert len({normalise(label, route) for label in labels}) == len(labels)


@pytest.mark.parametrize(
    "answer",
    [
        "Delivery",
        " delivery. ",
        "“delivery”",
        "„delivery“",
        "「delivery」",
        "« delivery »",
        "**delivery**",
        "`delivery`",
        "delivery。",
        "delivery！",
        "delivery؟",
        "ｄｅｌｉｖｅｒｙ",
        "DELI\u00adVERY",
        "de\u200blivery\u200b",
        "\ufeffdelivery",
        "\u202adelivery\u202c",
        "\u00a0delivery\u3000",
        '"delivery".\n',
        "delivery\x00",
    ],
    ids=ascii,
)
def test_what_stands_around_a_label_is_tolerated(answer: str) -> None:
    route = factories.spec()
    assert label_of(answer, route) == "delivery"
    assert same_answer(answer, "delivery", route)
    assert well_formed(answer, route)


@pytest.mark.parametrize(
    ("labels", "answer"),
    [
        (("delivery", "refund"), "no delivery"),
        (("delivery", "refund"), "delivery, refund"),
        (("delivery", "refund"), "-delivery"),
        (("delivery", "refund"), "deliver"),
        (("delivery", "refund"), ""),
        (("delivery", "refund"), "\u200b"),
        # A digit or letter with a sign is another one.
        (("5", "6"), "-5"),
        (("5", "6"), ".5"),
        (("C", "Go"), "C++"),
        (("C", "Go"), "C#"),
        (("net", "java"), ".net"),
        (("5", "6"), "5%"),
        (("a?", "a!"), "a"),
    ],
    ids=ascii,
)
def test_what_names_no_label_stays_malformed(labels: tuple[str, ...], answer: str) -> None:
    route = spec(*labels)
    assert not well_formed(answer, route)
    assert not any(same_answer(answer, label, route) for label in labels)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("Refund", "refund"), "'Refund'"),
        (("C", "c"), "one label"),
        (("ＡＢＣ", "abc"), "width"),
        (("refund", "re\u200bfund"), "\\u200b"),
        (("refund", "refund\u00ad"), "\\xad"),
        (("late order", "late\u00a0order"), "\\xa0"),
        (("late order", "late  order"), "white space"),
        (("straße", "STRASSE"), "one label"),
        (("e\u0301t\u00e9", "\u00e9te\u0301"), "e\\u0301"),
        (("ﬁle", "file"), "one label"),
        (("ﻧﻌﻢ", "نعم"), "one label"),
        (("ｶﾞ", "ガ"), "one label"),
        (("Σας", "σασ"), "one label"),
        (("ok", "\u200b"), "label number 2 shows nothing"),
        (("\u3000", "ok"), "label number 1 shows nothing"),
        (("ok", "\u3164"), "shows nothing"),
    ],
    ids=ascii,
)
def test_labels_that_are_one_are_refused_with_the_reason(
    labels: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=r"rename|give it a name") as refused:
        check_labels(labels)
    assert says in str(refused.value)


def test_scripts_whose_marks_decide_are_kept_apart() -> None:
    for labels in (("か", "が"), ("ل", "لا"), ("е", "e"), ("क", "क्"), ("٥", "5٪"), ("؀1", "1")):
        check_labels(labels)


@given(st.sampled_from(CLOSE), st.data())
def test_nothing_unseen_changes_what_is_named(labels: tuple[str, ...], data) -> None:
    label = data.draw(st.sampled_from(labels))
    places = data.draw(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(UNSEEN)), max_size=5))
    answer = label
    for place, char in places:
        answer = answer[:place] + char + answer[place:]
    assert label_of(unicodedata.normalize("NFD", answer), spec(*labels)) == label


@given(st.lists(st.text(max_size=6), min_size=2, max_size=4, unique=True), st.text(max_size=8))
def test_a_route_that_is_accepted_can_name_each_label_and_never_two(
    labels: list[str], answer: str
) -> None:
    try:
        check_labels(labels)
    except ValueError:
        return
    route = spec(*labels)
    assert [label_of(label, route) for label in labels] == labels
    assert len({normalise(label, route) for label in labels}) == len(labels)
    equal = [label for label in labels if same_answer(answer, label, route)]
    assert equal == ([label_of(answer, route)] if well_formed(answer, route) else [])


def test_a_stored_route_whose_labels_collide_is_still_read() -> None:
    route = spec("Refund", "refund")
    assert well_formed("REFUND", route)


def test_a_hostile_answer_costs_no_time() -> None:
    route = spec(*(f"label {number}" for number in range(1000)))
    label_of("x", route)
    began = time.process_time()
    for answer in ('"' * 100_000, "!" * 100_000, "." * 50_000 + "label 1" + "." * 50_000):
        assert label_of(answer, route) is None
    assert time.process_time() - began < 1.0

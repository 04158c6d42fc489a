"""The demo's word on its certificates: counted by truth, and false only where that is proven."""

from __future__ import annotations

import pytest

from infra.demo.record import BASE, FIRST, NEW_REQUESTS, Record
from infra.demo.risk import Kept, kept_by
from infra.demo.traffic import AnsweredMessage


def answered(
    arm: str, outcome: str, *, right: bool = True, certified: bool = True
) -> AnsweredMessage:
    return AnsweredMessage(
        "id", 0.0, "phase", None, "answer", right, False, arm, outcome, None, 0.1, certified
    )


def test_each_arm_is_counted_by_itself_and_only_what_is_trusted_under_a_certificate() -> None:
    rows = [
        answered("champion", "confident"),
        answered("challenger", "confident", right=False),
        answered("champion", "unsure", right=False),
        answered("champion", "confident", right=False, certified=False),
        answered("base", "fell_back", right=False),
        answered("base", "confident"),
    ]
    assert kept_by(rows) == [
        Kept("the adapter", 1, 2),
        Kept("the base model", 0, 1),
        Kept("the base model behind it", 1, 1),
    ]


@pytest.mark.parametrize(("wrong", "broken"), [(0, False), (8, False), (16, False), (22, True)])
def test_a_risk_is_broken_where_the_exact_interval_lies_above_it(wrong: int, broken: bool) -> None:
    assert Kept("the adapter", wrong, 100).breaks(0.1) == broken


def record(first: list[AnsweredMessage], more: list[AnsweredMessage] | None = None) -> Record:
    found = Record(0.0, 0.1)
    found.keep(BASE, [answered("base", "unsure", right=False)], 0)
    found.keep(FIRST, first, 0)
    if more is not None:
        found.keep(NEW_REQUESTS, more, 0)
    return found


def test_one_line_says_it_and_fails_the_demo_only_where_it_is_proven() -> None:
    good = [answered("champion", "confident")] * 95
    bad = [answered("base", "fell_back", right=False)] * 12
    kept = record(good).results()[-1]
    assert kept.passed and "the adapter 0 of 95 wrong (0%, 0% to 4%)" in kept.words
    broken = record([*good, *bad]).results()[-1]
    assert not broken.passed and "behind it 12 of 12 wrong" in broken.words


def test_what_came_after_the_requests_changed_breaks_no_certificate() -> None:
    good = [answered("champion", "confident")] * 40
    bad = [answered("champion", "confident", right=False)] * 40
    told = record(good, bad)
    told.keep("4 labels added", bad, 0)
    told.keep("5 version 2", good, 0)
    assert [one.passed for one in told.results() if one.act == "certificates"] == [True]


def test_it_says_how_wrong_the_answers_are_that_go_to_people() -> None:
    to_people = [answered("base", "unsure", right=right) for right in (True, False, False)]
    words = record([*to_people, answered("champion", "confident")]).results()[-1].words
    assert words.endswith("; not trusted, and sent to people: 2 of 3 wrong")


def test_without_a_certificate_there_is_nothing_to_keep() -> None:
    told = record([answered("champion", "confident", certified=False)]).results()[-1]
    assert told.passed and told.words == "no answer was trusted under a certificate"

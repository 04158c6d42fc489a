"""Which pairs people are asked about, and how what they say ends a contest."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from schemas.answers import well_formed
from schemas.base import BlobRef, Confidence, Message
from services.evaluator.comparisons import Tally, pairing
from services.evaluator.contest import Contest, Said, concluded, ending_of, together
from services.evaluator.examination import MOST, drawn, examine
from services.evaluator.heldout import ArmAnswers, Contender, HeldOutRow, mark
from shared.rules import Completion
from tests import factories

FREE = factories.spec(task="summarisation", labels=(), minimum_per_label=None)
SURE = Confidence(score=0.9, min_logprob=-0.1, first_margin=1.0, tokens=3)


def rows(n: int) -> list[HeldOutRow]:
    asked = [(Message(role="user", content=f"Summarise {i}."),) for i in range(n)]
    return [HeldOutRow(f"r{i}", "audit", asked[i], f"a summary of {i}") for i in range(n)]


def answers(contender: Contender, texts: list[str], finished: str = "stop") -> ArmAnswers:
    said = [Completion(text, SURE, -0.1, 5.0, finish_reason=finished) for text in texts]
    return mark(contender, rows(len(texts)), said, FREE)


CHALLENGER = Contender("challenger", factories.adapter().adapter_id)
BASE = Contender("base")


def test_of_many_pairs_a_random_part_is_asked_about_and_always_the_same() -> None:
    n = 3 * MOST
    ours = answers(CHALLENGER, [f"ours {i}" for i in range(n)])
    theirs = answers(BASE, [f"theirs {i}" for i in range(n)])
    found = drawn("e1", rows(n), ours, theirs, FREE)
    assert len(found.asked) == found.pairs == MOST and found.settled == Tally()
    assert drawn("e1", rows(n), ours, theirs, FREE) == found
    places = [int(pair.row.row_id[1:]) for pair in found.asked]
    # A uniform part has its mean within four standard errors of the middle.
    assert abs(np.mean(places) - n / 2) < 4 * n / 12**0.5 / MOST**0.5
    other = drawn("e2", rows(n), ours, theirs, FREE)
    assert {pair.row.row_id for pair in other.asked} != {pair.row.row_id for pair in found.asked}


@pytest.mark.parametrize(("personal", "ties"), [({}, 1), ({"phone": "surrogate"}, 0)])
def test_two_numbers_are_two_answers_where_numbers_are_the_task(
    personal: dict[str, str], ties: int
) -> None:
    spec = factories.spec(task="summarisation", labels=(), personal=personal)
    ours, theirs = ["Call (415) 690-6791."], ["Call (415) 690-6792."]
    found = drawn("e1", rows(1), answers(CHALLENGER, ours), answers(BASE, theirs), spec)
    assert found.settled.ties == ties and len(found.asked) == 1 - ties
    assert [pair.ours for pair in found.asked] == ours[ties:]


def test_people_are_asked_about_what_is_not_known() -> None:
    ours = answers(CHALLENGER, ["the same", "ours", "", "", "ours"])
    theirs = answers(BASE, ["the same ", "theirs", "theirs", "", ""])
    found = drawn("e1", rows(5), ours, theirs, FREE)
    assert found.settled == Tally(wins=0, losses=1, ties=1, neither=1)
    # What the other broke is asked about, too: a win has a person behind it.
    assert {pair.row.row_id for pair in found.asked} == {"r1", "r4"}
    assert not well_formed("", FREE)


def test_sides_are_those_of_the_pairing() -> None:
    ours = answers(CHALLENGER, ["ours"] * 60)
    found = drawn("e1", rows(60), ours, answers(BASE, ["theirs"] * 60), FREE)
    sides = Counter(pair.sides for pair in found.asked)
    assert sides.keys() == {("ours", "theirs"), ("theirs", "ours")}
    for pair in found.asked:
        assert (pair.sides[0] == "ours") == (pair.pairing.challenger == "left")


def test_arms_are_measured_by_how_near_they_are_and_by_their_form() -> None:
    near = answers(CHALLENGER, [f"a summary of {i}" for i in range(60)])
    cut = answers(BASE, [f"a summary of {i}" for i in range(60)], finished="length")
    found = examine(rows(60), [cut, near], FREE)
    assert found.gate.promote and found.calibrations == ()
    base, challenger = found.arms
    assert (challenger.accuracy, challenger.macro_f1, challenger.chrf) == (0.0, 1.0, 1.0)
    assert (base.format_compliance, challenger.format_compliance) == (0.0, 1.0)
    refused = examine(rows(60), [near, cut], FREE)
    assert not refused.gate.promote and refused.gate.reasons[0].startswith("rejected")


def test_rejected_questions_are_compared_and_measure_no_nearness() -> None:
    asked = rows(60)
    asked[0] = HeldOutRow("r0", "audit", asked[0].messages, "", is_rejected=True)
    ours = answers(CHALLENGER, [f"a summary of {i}" for i in range(60)])
    theirs = answers(BASE, ["theirs"] * 60)
    assert examine(asked, [theirs, ours], FREE).arms[1].chrf == 1.0
    assert len(drawn("e1", asked, ours, theirs, FREE).asked) == 60


def contest(pairs: int = 200, settled: Tally | None = None) -> Contest:
    trained = factories.trained(spec=FREE)
    return Contest(
        evaluation_id="e1",
        against="base",
        pairs=pairs,
        settled=settled or Tally(),
        alpha=0.03,
        trained=trained,
        draft=factories.evaluated(evaluation_id="e1", reasons=("format kept",)),
        content=BlobRef(uri="file:///c", sha256="ab" * 32),
        opened_at=0.0,
    )


def said(values: list[int], first: int = 0) -> Said:
    """Return judgements: 1 where the challenger won, -1 where it lost, 0 for a tie."""
    found: Said = {}
    for n, value in enumerate(values, start=first):
        pair = pairing("e1", f"r{n}", "base")
        other = "right" if pair.challenger == "left" else "left"
        word = {1: pair.challenger, -1: other, 0: "tie"}[value]
        found[pair.comparison_id] = (word, pair.challenger)  # type: ignore[index]
    return found


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1] * 8, "promote"),
        ([1] * 5, None),
        ([-1] * 8, "reject"),
        ([0] * 199, None),
        ([0] * 200, "reject"),
        ([1, -1] * 100, "reject"),
    ],
)
def test_a_contest_ends_when_enough_was_said(values: list[int], verdict: str | None) -> None:
    ending = ending_of(contest(), said(values), {})
    assert (ending.verdict if ending else None) == verdict


def test_what_needed_nobody_counts() -> None:
    settled = Tally(losses=4, ties=10)
    assert ending_of(contest(settled=settled), said([1] * 8), {}) is None
    assert together(contest(settled=settled), said([1, 0])) == Tally(1, 4, 11, 0)
    ending = ending_of(contest(settled=settled), said([1] * 30), {})
    assert ending
    event = concluded(contest(settled=settled), ending)
    assert event.tests[0].losses == 4 and event.reasons[-1] == "format kept"
    assert "10 that are equal and 4 that break the form" in event.reasons[1]


def test_a_judge_model_ends_what_has_no_hope_and_promotes_nothing() -> None:
    """People say the same as it on 60 pairs: a little worse, which they alone do not prove."""
    people = [1] * 22 + [-1] * 32 + [0] * 6
    model = said(people) | said([-1] * 90 + [1] * 40 + [0] * 10, first=60)
    assert ending_of(contest(), said(people), {}) is None
    ending = ending_of(contest(), said(people), model)
    assert ending and ending.verdict == "reject" and "a judge model" in ending.why
    hopeful = said(people) | said([1] * 140, first=60)
    assert ending_of(contest(), said(people), hopeful) is None
    assert ending_of(contest(), {}, said([1] * 200)) is None

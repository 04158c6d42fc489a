"""Where a route serves the app's system turn, it is trained on, and parts questions."""

from __future__ import annotations

import json

import pytest

from schemas.base import Message
from services.dataset_builder.curate import curate
from tests import factories
from tests.unit.dataset_builder.test_curate import row, turns

ASK = "Can I get a refund?"


def spec(system: str):
    return factories.spec(labels=("No.", "Yes."), system=system)


@pytest.mark.parametrize("system", ["append", "app"])
def test_it_is_trained_as_it_is_served(system: str) -> None:
    rows = [
        row(1, "", "No.", messages=turns("plan: basic", ASK)),
        row(2, "", "Yes.", messages=turns("plan: premium", ASK)),
    ]
    curated = curate(rows, spec(system))
    assert curated.lost == []
    assert [one.answer for one in curated.training] == ["No.", "Yes."]
    messages = [
        tuple(Message(**turn) for turn in json.loads(one.question.asked))
        for one in curated.training
    ]
    assert [spec(system).tuned_messages(sent)[0].content[-4:] for sent in messages] == [
        "asic",
        "mium",
    ]


def test_two_answers_under_one_turn_are_still_ambiguous() -> None:
    rows = [
        row(n, "", answer, messages=turns("plan: basic", ASK))
        for n, answer in enumerate(["No.", "Yes."])
    ]
    assert {one.reason for one in curate(rows, spec("append")).lost} == {"ambiguous"}


def test_long_context_in_it_makes_no_cluster_of_different_questions() -> None:
    context = "Our terms: " + " ".join(f"clause {n} says this" for n in range(200))
    asked = ["Where is my parcel now?", "Please cancel my subscription today", "Why was I charged?"]
    rows = [row(n, "", "No.", messages=turns(context, text)) for n, text in enumerate(asked)]
    assert len({one.cluster for one in curate(rows, spec("append")).training}) == 3


def test_personal_data_in_it_is_redacted() -> None:
    rows = [row(1, "", "No.", messages=turns("The customer is eve@example.com", ASK))]
    [one] = curate(rows, spec("append")).training
    assert "eve@" not in one.question.asked and "[EMAIL]" in one.question.asked

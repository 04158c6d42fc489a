"""What is unsure only because nothing is certified yet is reviewed like the rest, so many a day;
the probability that is told is the one that acted.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.events import InferenceRecorded
from tests import factories
from tests.unit.review.harness import Review

RULE = {"rate": 0.9, "audit_rate": 0.2, "unsure_rate": 1.0, "daily_budget": 5}


@pytest.fixture
async def strict(review: Review) -> Review:
    await review.hears(factories.route_changed(spec=factories.spec(review=RULE)))
    return review


def provisional(**changes: object) -> InferenceRecorded:
    return factories.inference(outcome="unsure", provisional=True, **changes)


async def test_so_many_a_day_beyond_the_audited_ones(strict: Review) -> None:
    await strict.hears(*(provisional() for _ in range(60)))
    items = await strict.items()
    reviewed = [item for item in items if item.state == "open" and not item.audit]
    assert len(reviewed) == 5
    assert all(item.state == "open" for item in items if item.audit)
    assert {item.reason for item in items} <= {"sampled", "audit"}


async def test_the_probability_is_the_one_that_acted(strict: Review) -> None:
    await strict.hears(*(provisional() for _ in range(60)))
    taken = 0
    for item in sorted(await strict.items(), key=lambda item: item.item_id):
        left = taken < 5
        assert item.probability == (0.9 if left else 0.2)
        assert (item.state == "open") == (item.coin < item.probability)
        taken += left and 0.2 <= item.coin < 0.9


async def test_another_day_has_a_budget_of_its_own(strict: Review) -> None:
    first = provisional()
    await strict.hears(first, *(provisional() for _ in range(59)))
    tomorrow = first.occurred_at + timedelta(days=1)
    await strict.hears(*(provisional(occurred_at=tomorrow) for _ in range(60)))
    reviewed = [item for item in await strict.items() if item.state == "open" and not item.audit]
    assert len(reviewed) == 10


async def test_a_request_for_review_does_not_go_round_it(strict: Review) -> None:
    answers = [provisional() for _ in range(40)]
    asked = [factories.review_requested(inference_id=one.inference_id) for one in answers]
    await strict.hears(*asked[:20], *answers, *asked[20:])
    reviewed = [item for item in await strict.items() if item.state == "open" and not item.audit]
    assert len(reviewed) == 5


async def test_answers_before_their_route_keep_to_it(review: Review) -> None:
    await review.hears(*(provisional() for _ in range(40)))
    await review.hears(factories.route_changed(spec=factories.spec(review=RULE)))
    reviewed = [item for item in await review.items() if item.state == "open" and not item.audit]
    assert len(reviewed) == 5


async def test_what_is_unsure_with_a_certificate_costs_nothing(strict: Review) -> None:
    await strict.hears(*(factories.inference(outcome="unsure") for _ in range(20)))
    assert all(item.state == "open" for item in await strict.items())

"""A right answer of a route with surrogates: what the page showed stays, what was said does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.base import Message
from shared.privacy import Personal
from tests import factories
from tests.unit.review.harness import Review

ASKED = "I am Ann, (415) 555-2671, ann@acme.com"


def spec(**personal: str) -> Any:
    return factories.spec(
        task="extraction", labels=(), personal=personal, review={"rate": 1.0, "overlap_rate": 0.0}
    )


async def corrected(review: Review, answer: str, **personal: str) -> tuple[str, str]:
    """Return what was shown of the question, and what was published as right."""
    await review.hears(factories.route_changed(spec=spec(**personal)))
    inference = factories.inference(answer='{"phone": ""}')
    made = Personal(review.service.settings.surrogate_secret)
    shown = made.of(spec(**personal).personal.chosen, factories.ROUTE, inference.inference_id)(
        ASKED
    )
    asked = (Message(role="user", content=shown),)
    await review.hears(inference.model_copy(update={"messages": asked}))
    async with review.client() as client:
        item = (await client.post("/v1/queue/next", json={})).json()
        body = {"verdict": "corrected", "answer": answer.replace("SHOWN", shown[10:24])}
        for _ in range(2):
            done = await client.post(f"/v1/items/{item['item_id']}/verdict", json=body)
            assert done.status_code == 200, done.text
    [said] = await review.said()
    return shown[10:24], said.answer or ""


@pytest.mark.parametrize(
    "answer", ['{"phone": "SHOWN"}', '{"phone": "(415) 555-2671"}', '{"phone": "415-555-2671"}']
)
async def test_a_right_answer_copies_what_stands_in_the_question(
    review: Review, answer: str
) -> None:
    shown, right = await corrected(review, answer, phone="surrogate")
    assert shown != "(415) 555-2671"
    written = json.loads(right)["phone"]
    assert written == (shown if "(" in answer or "SHOWN" in answer else f"415-{shown[-8:]}")


async def test_a_number_that_nobody_said_is_no_number_of_anybody(review: Review) -> None:
    _, right = await corrected(review, '{"phone": "(415) 555-9999"}', phone="surrogate")
    assert "[" not in right and "9999" not in right


async def test_other_kinds_are_redacted_and_kept_ones_stay(review: Review) -> None:
    answer = '{"phone": "(415) 555-2671", "mail": "ann@acme.com"}'
    _, right = await corrected(review, answer, email="keep")
    assert json.loads(right) == {"phone": "[PHONE]", "mail": "ann@acme.com"}

"""A verdict says which slices of its route the answer belongs to: the values of the metadata that
the route names, and nothing else of it.
"""

from __future__ import annotations

import pytest

from schemas.events import ReviewCompleted
from schemas.route import RouteSpec
from services.review.verdicts import LONGEST_SLICE, slices_of
from tests import factories
from tests.unit.review.harness import Review
from tests.unit.review.test_inclusion import complaint, decide, undo

RATES = {"rate": 0.5, "audit_rate": 0.0, "unsure_rate": 1.0}
TOLD = {"country": "DE", "user": "ada@example.org", "channel": "app"}


def sliced(*keys: str) -> RouteSpec:
    return factories.spec(review=RATES, slices=keys)


async def verdict_on(review: Review, metadata: dict[str, str]) -> ReviewCompleted:
    await review.hears(factories.inference(metadata=metadata, outcome="unsure"))
    await decide(review)
    return (await review.said())[-1]


async def test_only_what_the_route_names_leaves_review(review: Review) -> None:
    await review.hears(factories.route_changed(spec=sliced("country", "version")))
    assert (await verdict_on(review, TOLD)).slices == {"country": "DE"}
    assert (await verdict_on(review, {})).slices == {}
    await review.hears(factories.route_changed(version=2, spec=sliced()))
    said = await verdict_on(review, TOLD)
    assert said.slices == {} and "slices" not in said.model_dump_json()


async def test_a_key_counts_that_the_route_names_while_an_answer_waits(review: Review) -> None:
    """Also for answers that came before their route."""
    await review.hears(factories.inference(metadata=TOLD, outcome="unsure"))
    await review.hears(factories.route_changed(spec=sliced()))
    await review.hears(factories.route_changed(version=2, spec=sliced("channel")))
    await decide(review)
    assert (await review.said())[0].slices == {"channel": "app"}


async def test_a_verdict_that_is_said_again_says_the_same(review: Review) -> None:
    await review.hears(factories.route_changed(spec=sliced("country")))
    inference = factories.inference(metadata=TOLD, outcome="unsure")
    await review.hears(inference)
    item_id = await decide(review)
    await review.hears(factories.route_changed(version=2, spec=sliced("channel")))
    await undo(review, item_id)
    await decide(review, item_id)
    await review.hears(complaint(inference))
    given, taken_back, anew = (await review.said())[:3]
    assert given.slices == taken_back.slices == {"country": "DE"}
    assert anew.slices == {"channel": "app"}


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("DE", True),
        (" DE ", True),
        ("x" * LONGEST_SLICE, True),
        ("x" * (LONGEST_SLICE + 1), False),
        ("two\nlines", False),
        ("\x1b[2J", False),
        (" ", False),
    ],
)
def test_a_slice_is_a_short_word_on_one_line(value: str, is_one: bool) -> None:
    assert slices_of({"k": value}, sliced("k")) == ({"k": value.strip()} if is_one else {})

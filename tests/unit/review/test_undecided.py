"""An audited answer that nobody has decided is missing from what a certificate counts: none goes
away by itself, and admins see how many there are.
"""

from __future__ import annotations

import pytest

from tests import factories
from tests.unit.review.harness import Review, add_key
from tests.unit.review.test_inclusion import decide, id_with, undo

AUDITED = {"rate": 0.5, "audit_rate": 0.1, "overlap_rate": 1.0}


@pytest.fixture
async def waiting(review: Review) -> Review:
    """Three audited answers, one that is reviewed and not audited, and one that was set aside."""
    await review.hears(factories.route_changed(spec=factories.spec(review=AUDITED)))
    coins = [(0.0, 0.1)] * 3 + [(0.1, 0.5), (0.5, 1.0)]
    await review.hears(*(factories.inference(inference_id=id_with(*coin)) for coin in coins))
    return review


async def undecided(review: Review) -> dict[str, dict[str, int]]:
    boss = add_key(review, "boss", "acme", {"review", "admin"})
    async with review.client(secret=boss) as client:
        return (await client.get("/v1/stats")).json()["undecided_audits"]


async def audited(review: Review) -> list[str]:
    """The audited items, first looks alone."""
    return [one.item_id for one in await review.items() if one.audit and not one.second_of]


async def skip(review: Review, item_id: str) -> None:
    async with review.client() as client:
        assert (await client.post(f"/v1/items/{item_id}/release")).status_code == 204


async def test_admins_see_how_many_there_are_and_reviewers_do_not(waiting: Review) -> None:
    assert await undecided(waiting) == {factories.ROUTE: {"open": 3, "skipped": 0}}
    first, second, _ = await audited(waiting)
    await decide(waiting, first)
    await skip(waiting, second)
    assert await undecided(waiting) == {factories.ROUTE: {"open": 2, "skipped": 1}}
    ada = add_key(waiting, "ada", "acme", {"review"})
    async with waiting.client(secret=ada) as client:
        assert (await client.get("/v1/stats")).json()["undecided_audits"] is None


async def test_what_was_taken_back_is_undecided_again(waiting: Review) -> None:
    first, *_ = await audited(waiting)
    await decide(waiting, first)
    await undo(waiting, first)
    assert await undecided(waiting) == {factories.ROUTE: {"open": 3, "skipped": 0}}


async def test_housekeeping_forgets_none_of_them(waiting: Review) -> None:
    """However old: what it forgets is what the coin set aside."""
    first, second, third = await audited(waiting)
    await skip(waiting, first)
    await decide(waiting, second)
    await undo(waiting, second)
    housekeeping = waiting.service.parts.housekeeping
    housekeeping.keep_seconds = -60.0
    assert await housekeeping.once() == 1
    assert {first, second, third} == set(await audited(waiting))
    assert await undecided(waiting) == {factories.ROUTE: {"open": 3, "skipped": 1}}

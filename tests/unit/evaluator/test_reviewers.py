"""What two people say of one answer, and what follows about the answers that both let pass."""

from __future__ import annotations

import pytest
from sqlalchemy import MetaData

from schemas.events import ReviewCompleted
from services.evaluator.reviewers import LEAST_DOUBTED, Pair, missed, passing
from services.evaluator.store.reviewers import LookStore, digest_of
from shared.storage.db import Database
from tests import factories


def pairs(split: int, neither: int, both: int = 0, same: bool = True) -> list[Pair]:
    return [
        *[Pair("approved", "corrected", same=False)] * split,
        *[Pair("corrected", "corrected", same=same)] * neither,
        *[Pair("approved", "approved", same=True)] * both,
    ]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_the_share_that_passes_follows_from_the_splits(share: float) -> None:
    """Of a wrong answer one of two approves in 2f(1 - f), and none in (1 - f) squared."""
    one, none = 2 * share * (1 - share), (1 - share) ** 2
    split = one / (one + none) if share < 1 else 1.0
    assert passing(split) == pytest.approx(share)


def test_the_estimate_and_its_bound() -> None:
    found = missed(pairs(split=8, neither=12, both=200))
    assert found.estimate == pytest.approx(0.25)
    assert found.estimate < found.upper < 0.45
    assert (found.pairs, found.doubted, found.split) == (220, 20, 8)
    assert found.bound == found.upper


def test_more_pairs_bring_the_bound_nearer() -> None:
    bounds = [missed(pairs(2 * n, 8 * n)).upper for n in (1, 5, 25)]
    assert bounds == sorted(bounds, reverse=True)


def test_nothing_is_said_where_nothing_was_doubted() -> None:
    found = missed(pairs(0, 0, both=500))
    assert (found.estimate, found.upper, found.bound) == (None, 1.0, None)
    assert missed(pairs(0, LEAST_DOUBTED)).bound is not None


def test_corrections_that_differ_are_counted() -> None:
    assert missed(pairs(0, 10)).miscorrected == 0.0
    mixed = [*pairs(0, 16), *pairs(0, 9, same=False)]
    assert missed(mixed).miscorrected == pytest.approx(0.2)
    assert missed([]).miscorrected is None


@pytest.fixture
async def looks(database_url: str):
    metadata = MetaData()
    store = LookStore(metadata)
    db = Database(database_url)
    await db.create_tables(metadata)
    yield db, store
    await db.close()


def look(review_id: str, **changes: object) -> ReviewCompleted:
    base = {"review_id": review_id, "inference_id": "i1", "audit": True, "reviewer": "ada"}
    return factories.review(**(base | changes))


async def heard(looks, *events: ReviewCompleted) -> list[Pair]:
    db, store = looks
    async with db.transaction() as tx:
        for event in events:
            await store.add(tx, event)
    async with db.read() as connection:
        return list(await store.pairs(connection, factories.ROUTE))


FIRST = look("r1", verdict="corrected", answer="refund")
SECOND = look("r2", verdict="approved", answer="delivery", reviewer="bob", second_of="r1")


async def test_two_looks_are_a_pair_in_any_order_and_once(looks) -> None:
    found = await heard(looks, SECOND, FIRST, FIRST, SECOND)
    assert found == [Pair("corrected", "approved", same=False)]


async def test_one_look_is_none(looks) -> None:
    assert await heard(looks, FIRST, look("r9", inference_id="i9")) == []


@pytest.mark.parametrize("back", [FIRST, SECOND])
async def test_what_was_taken_back_is_none(looks, back: ReviewCompleted) -> None:
    gone = back.model_copy(update={"withdrawn": True, "event_id": f"{back.event_id}-back"})
    assert await heard(looks, gone, FIRST, SECOND) == []


async def test_a_verdict_given_anew_takes_the_place_of_the_first(looks) -> None:
    gone = FIRST.model_copy(update={"withdrawn": True, "event_id": "another-event"})
    anew = look("r1.1", verdict="approved", answer="delivery", supersedes="r1")
    assert await heard(looks, FIRST, SECOND, gone, anew) == [Pair("approved", "approved", True)]


async def test_one_person_twice_is_no_pair(looks) -> None:
    assert await heard(looks, FIRST, SECOND.model_copy(update={"reviewer": "ada"})) == []


def test_right_answers_are_compared_by_what_they_say() -> None:
    assert digest_of('{"a": 1, "b": [2]}') == digest_of('{"b":[2],"a":1}')
    assert digest_of("Refund ") == digest_of("refund")
    assert digest_of("refund") != digest_of("delivery")
    assert digest_of(None) is None

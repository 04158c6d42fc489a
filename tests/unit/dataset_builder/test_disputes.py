"""Verdicts that no majority settles are asked for once more: the most even first, each once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas.base import Message
from schemas.events import ReviewCompleted
from schemas.route import RouteSpec
from services.dataset_builder.curate import curate
from services.dataset_builder.disputes import Dispute, disputes
from services.dataset_builder.rows import DatasetRow
from services.dataset_builder.store.requests import MOST
from tests import factories
from tests.unit.dataset_builder.corpus import route, row
from tests.unit.dataset_builder.rig import Rig, known_route, verdict, verdicts

EVEN = "is the blue one still to come"
UNEVEN = "what about the lamp that I sent"


def said(text: str, *answers: str, **changes: object) -> Iterator[DatasetRow]:
    for number, answer in enumerate(answers):
        name = f"{text[:9]}-{number}"
        ids = {"review_id": f"r-{name}", "inference_id": f"i-{name}"}
        yield row(number, text, answer, **ids, **changes)


def found(rows: list[DatasetRow], spec: RouteSpec | None = None) -> list[Dispute]:
    spec = spec or route()
    return disputes(curate(rows, spec).lost, spec)


def test_the_verdicts_of_the_most_even_question_come_first() -> None:
    uneven = list(said(UNEVEN, "refund", "refund", "delivery", "refund", "delivery"))
    even = list(said(EVEN, "delivery", "refund"))
    settled = list(said("thanks", "refund", "refund", "refund", "delivery"))
    asked = found([*uneven, *settled, *even])
    assert [one.review_id for one in asked] == [r.review_id for r in (*even, *uneven)]
    assert [dict(one.said) for one in asked[1:3]] == [
        {"delivery": 1, "refund": 1},
        {"refund": 3, "delivery": 2},
    ]


def test_neither_order_nor_time_of_the_build_changes_what_is_asked() -> None:
    rows = [*said(EVEN, "delivery", "refund"), *said(UNEVEN, "refund", "delivery")]
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    assert found(rows) == found(shuffled)


def test_only_verdicts_that_have_a_vote_are_asked_for() -> None:
    """Nine of the newest guideline decide: to give older ones again would change nothing."""
    old = list(said(EVEN, *["refund"] * 6, guideline="2025"))
    new = [
        row(
            10_000 + n,
            EVEN,
            ("refund", "delivery")[n % 2],
            review_id=f"new-{n:02}",
            inference_id=f"i-new-{n}",
            guideline="2026",
        )
        for n in range(14)
    ]
    assert [one.review_id for one in found([*old, *new])] == [f"new-{n:02}" for n in range(5, 14)]


def test_long_answers_and_many_are_shown_shortened() -> None:
    spec = route(task="format", labels=(), minimum_per_label=None)
    answers = [f"{'long ' * 40}{number}" for number in range(8)]
    [first, *_] = found(list(said(EVEN, *answers)), spec)
    assert all(len(answer) <= 80 for answer in first.said) and len(first.said) <= 5


def test_what_is_no_disagreement_is_not_asked_for() -> None:
    audited = [*said(EVEN, "refund", audit=True), *said(EVEN, "delivery", audit=True)]
    rejected = list(said(UNEVEN, "no such label", "another"))
    assert found([*audited, *rejected]) == []
    free = route(task="conversation", labels=(), minimum_per_label=None)
    assert found(list(said(EVEN, "Hello!", "Good day")), free) == []


@pytest.fixture
async def rig(database_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(database_url, tmp_path).start()
    yield rig
    await rig.db.close()


def disputed(number: int, answer: str, **changes: object) -> ReviewCompleted:
    asked = (Message(role="user", content=EVEN),)
    return verdict(number, messages=asked, answer=answer, **changes)


async def build(rig: Rig) -> None:
    async with rig.db.transaction() as tx:
        await rig.ledger.command(tx, factories.ROUTE, "asked for")
    await rig.work()


async def test_a_build_asks_for_them_once_whether_it_is_built_or_refused(rig: Rig) -> None:
    pair = disputed(500, "refund"), disputed(501, "delivery")
    await rig.hear(known_route(needed=10_000), *pair)
    await build(rig)
    assert await rig.announced() == []
    asked = await rig.requested()
    assert [(one.review_id, one.inference_id, one.said) for one in asked] == [
        (one.review_id, one.inference_id, {"delivery": 1, "refund": 1}) for one in pair
    ]
    assert {(one.tenant, one.route) for one in asked} == {("acme", factories.ROUTE)}
    await rig.hear(*verdicts(0, 30))
    for _ in range(3):
        await build(rig)
    assert len(await rig.announced()) == 1 and len(await rig.requested()) == 2


async def test_what_is_ambiguous_after_its_second_look_stays_lost_and_listed(rig: Rig) -> None:
    pair = disputed(500, "refund"), disputed(501, "delivery")
    await rig.hear(known_route(needed=10_000), *verdicts(0, 30), *pair)
    await build(rig)
    for one in pair:
        await rig.hear(
            one.model_copy(update={"event_id": f"no-{one.review_id}", "withdrawn": True}),
            one.model_copy(
                update={
                    "event_id": f"again-{one.review_id}",
                    "review_id": f"{one.review_id}.1",
                    "supersedes": one.review_id,
                }
            ),
        )
    await rig.hear(*verdicts(30, 33))
    await build(rig)
    assert len(await rig.announced()) == len(await rig.requested()) == 2
    manifest = await rig.manifest((await rig.announced())[-1].dataset_id)
    assert manifest["dropped"] == {"ambiguous": 2}
    # Another pair on the same question is asked for, but not those two.
    await rig.hear(disputed(502, "refund"), disputed(503, "delivery"))
    await build(rig)
    assert [one.inference_id for one in (await rig.requested())[2:]] == [
        "inference-00502",
        "inference-00503",
    ]


async def test_a_build_asks_for_no_more_than_reviewers_can_do_and_the_next_goes_on(
    rig: Rig,
) -> None:
    many = [
        verdict(
            1_000 + number,
            messages=(Message(role="user", content=f"question {'abcdefgh'[number // 8]}{number}"),),
            answer=answer,
            review_id=f"r-{number}-{answer}",
            inference_id=f"i-{number}-{answer}",
        )
        for number in range(40)
        for answer in ("refund", "delivery")
    ]
    await rig.hear(known_route(needed=10_000), *many)
    await build(rig)
    assert len(await rig.requested()) == MOST
    await build(rig)
    asked = [one.review_id for one in await rig.requested()]
    assert len(asked) == len(set(asked)) == 80

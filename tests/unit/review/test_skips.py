"""A skipped item comes to others at once and back to who skipped it after a while, also behind a
backlog that never ends.
"""

from __future__ import annotations

import pytest
from sqlalchemy import update

from services.review.turns import Turn, skipped_comes_first
from tests import factories
from tests.unit.review.harness import Review, add_key

HOUR = 3600.0


async def take(review: Review, secret: str | None = None) -> dict:
    async with review.client(secret=secret) as client:
        return (await client.post("/v1/queue/next", json={})).json()


async def skip(review: Review, item: dict, secret: str | None = None) -> None:
    async with review.client(secret=secret) as client:
        released = await client.post(f"/v1/items/{item['item_id']}/release")
        assert released.status_code == 204


async def an_hour_goes_by(review: Review) -> None:
    """Move all that happened back by an hour."""
    items, skips = (review.service.metadata.tables[name] for name in ("items", "skips"))
    async with review.service.db.transaction() as tx:
        await tx.execute(update(items).values(queued_at=items.c.queued_at - HOUR))
        await tx.execute(update(skips).values(back_at=skips.c.back_at - HOUR))


@pytest.fixture
async def backlog(reviewing_all: Review) -> Review:
    await reviewing_all.hears(*(factories.inference() for _ in range(4)))
    return reviewing_all


async def test_somebody_else_gets_it_next(backlog: Review) -> None:
    bob = add_key(backlog, "bob", "acme", {"review"})
    first = await take(backlog)
    await skip(backlog, first)
    assert (await take(backlog, bob))["item_id"] == first["item_id"]


async def test_it_comes_back_although_the_backlog_never_ends(backlog: Review) -> None:
    """As many come as are decided; what was skipped is decided in its turn all the same."""
    first = await take(backlog)
    await skip(backlog, first)
    seen = []
    for _ in range(4):
        for _ in range(2):
            await backlog.hears(factories.inference())
            item = await take(backlog)
            seen.append(item["item_id"])
            async with backlog.client() as client:
                body = {"verdict": "approved"}
                await client.post(f"/v1/items/{item['item_id']}/verdict", json=body)
        await an_hour_goes_by(backlog)
    # It stood where one would that is queued when its hour was over: behind the five before it.
    assert first["item_id"] in seen[5:]
    async with backlog.client() as client:
        stats = (await client.get("/v1/stats")).json()
    assert (stats["open"], stats["skipped"]) == (4, 0)


async def test_skipped_by_everybody_it_is_counted_and_still_comes_back(backlog: Review) -> None:
    bob = add_key(backlog, "bob", "acme", {"review"})
    first = await take(backlog)
    await skip(backlog, first)
    await skip(backlog, await take(backlog, bob), bob)
    async with backlog.client() as client:
        assert (await client.get("/v1/stats")).json()["skipped"] == 1
    await an_hour_goes_by(backlog)
    # Behind the three that are older, for each of the two.
    for _ in range(3):
        assert (await take(backlog, bob))["item_id"] != first["item_id"]
    assert (await take(backlog, bob))["item_id"] == first["item_id"]


async def test_it_comes_back_early_where_nothing_else_waits(reviewing_all: Review) -> None:
    await reviewing_all.hears(factories.inference(), factories.inference())
    first, second = await take(reviewing_all), await take(reviewing_all)
    await skip(reviewing_all, first)
    await skip(reviewing_all, second)
    turns = [await take(reviewing_all) for _ in range(2)]
    assert [item["item_id"] for item in turns] == [first["item_id"], second["item_id"]]


async def test_skips_are_forgotten_with_the_verdict(backlog: Review) -> None:
    bob = add_key(backlog, "bob", "acme", {"review"})
    first = await take(backlog)
    await skip(backlog, first)
    other = await take(backlog)
    await skip(backlog, other)
    async with backlog.client(secret=bob) as client:
        await client.post(f"/v1/items/{first['item_id']}/verdict", json={"verdict": "approved"})
    await backlog.service.parts.housekeeping.once()
    skips = backlog.service.metadata.tables["skips"]
    async with backlog.service.db.read() as connection:
        left = [row.item_id for row in await connection.execute(skips.select())]
    assert left == [other["item_id"]]


@pytest.mark.parametrize(
    ("skipped", "other", "first"),
    [
        (Turn(2, 50.0), None, True),
        (Turn(2, 150.0), None, True),
        (Turn(2, 50.0), Turn(2, 60.0), True),
        (Turn(2, 50.0), Turn(2, 40.0), False),
        (Turn(2, 50.0), Turn(0, 90.0), False),
        (Turn(0, 150.0), Turn(2, 160.0), False),
    ],
)
def test_turns(skipped: Turn, other: Turn | None, first: bool) -> None:
    assert skipped_comes_first(skipped, other, now=100.0) is first

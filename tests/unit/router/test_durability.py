"""When an answer is on disk: before it is given, or soon after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, select

from tests import factories
from tests.unit.router.conftest import Running


async def recorded(router: Running) -> int:
    table = router.service.parts.routes.tables.decisions
    async with router.service.db.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


@asynccontextmanager
async def database_busy(router: Running) -> AsyncIterator[None]:
    """Hold the place of the one who writes."""
    async with router.service.db._writer:
        yield


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_an_answer_waits_for_the_disk_unless_its_route_is_relaxed(
    router: Running, durability: str
) -> None:
    await router.create(factories.spec(durability=durability))
    async with database_busy(router):
        asking = asyncio.create_task(router.chat())
        done, _ = await asyncio.wait({asking}, timeout=1.0)
        assert bool(done) is (durability == "relaxed")
        if durability == "relaxed":
            assert asking.result().status_code == 200
    assert (await asking).status_code == 200
    await router.service.parts.passing.recordings.recorder.flush()
    assert await recorded(router) == 1


async def test_an_answer_under_a_key_is_on_disk_whatever_the_route_says(router: Running) -> None:
    await router.create(factories.spec(durability="relaxed"))
    body = {"model": factories.ROUTE, "messages": [{"role": "user", "content": "Where?"}]}
    async with router.http() as http:
        headers = {"idempotency-key": "one"}
        answer = await http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    assert await recorded(router) == 1

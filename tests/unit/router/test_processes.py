"""Several processes of one router: what one knows the others go by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.router.app import build
from services.router.settings import Settings
from services.router.store.waiting import Waiting
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import FakeVllm, served, until

CANARY_REQUESTS = 3
CANARY_SECONDS = 1.0


@pytest.fixture
async def two(
    vllm: FakeVllm, settings: dict[str, Any], keys: dict[str, str], tmp_path: Path
) -> AsyncIterator[list[Running]]:
    """Two routers over one database and one vLLM, as two processes are."""
    chosen = settings | {
        "canary_requests": CANARY_REQUESTS,
        "canary_seconds": CANARY_SECONDS,
        "canary_share": 1.0,
        "vllm_timeout": 60.0,
    }
    async with served(vllm.app) as upstream:
        built = [build(Settings(vllm_url=upstream, **chosen), NoSender()) for _ in range(2)]
        async with served(built[0].api) as first, served(built[1].api) as second:
            blobs = BlobStore(chosen["artifacts_url"])
            yield [
                Running(service, url, vllm, keys, blobs, tmp_path / "made")
                for service, url in zip(built, (first, second), strict=True)
            ]


async def test_a_route_made_by_one_is_served_by_the_other_at_once(two: list[Running]) -> None:
    one, other = two
    for number in range(5):
        spec = factories.spec(name=f"acme/route-{number}")
        await one.create(spec)
        answer = await other.chat(model=spec.name)
        assert answer.status_code == 200, answer.text


async def canary_that_hangs(two: list[Running]) -> asyncio.Task[Any]:
    """Give the first of two a question that the challenger never answers."""
    one, other = two
    await one.create()
    challenger = one.adapter("challenger")
    await one.handle(factories.evaluated(adapter=challenger))
    for router in two:
        await until(lambda fleet=router.service.parts.fleet: fleet.serving(challenger.adapter_id))
    one.vllm.slow[challenger.adapter_id] = None
    asking = asyncio.create_task(one.chat())
    await until(lambda: one.service.parts.fleet.asking(challenger.adapter_id) == 1)
    assert other.service.parts.fleet.asking(challenger.adapter_id) == 0
    return asking


async def test_what_hangs_in_one_is_not_promoted_by_the_other(two: list[Running]) -> None:
    asking = await canary_that_hangs(two)
    await asyncio.sleep(2.5 * CANARY_SECONDS)
    for router in two:
        assert router.state().challenger is not None
    asking.cancel()


async def test_the_control_without_what_others_wait_for_promotes_it(
    two: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: Any) -> int:
        return 0

    monkeypatch.setattr(Waiting, "elsewhere", none)
    asking = await canary_that_hangs(two)
    await until(lambda: two[1].state().challenger is None)
    assert "no request was given to it" in str(await two[1].events("RouteChanged"))
    asking.cancel()


async def test_both_answer_and_both_answers_count_for_a_canary(two: list[Running]) -> None:
    one, other = two
    # It waits for all three, and neither of the two gives that many answers.
    await one.create(factories.spec(canary={"quiet": "wait"}))
    challenger = one.adapter("challenger")
    await one.handle(factories.evaluated(adapter=challenger))
    for router in two:
        await until(lambda fleet=router.service.parts.fleet: fleet.serving(challenger.adapter_id))
    for number in range(CANARY_REQUESTS):
        assert (await two[number % 2].chat()).status_code == 200
    await until(lambda: one.state().champion is not None)
    assert "3 canary answers" in str(await one.events("RouteChanged"))
    await other.service.parts.table.refresh()
    assert other.state().champion == challenger

"""A tenant that floods the router takes nothing from another: a real server, a stub engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import FakeVllm

PLACES = 4
ENGINE_SECONDS = 0.1  # so 40 answers a second
FLOOD = 120  # requests of the other tenant at any time
ASKED = 6
# Answers of the other tenant while this one waits for its own: those that are written, the next
# turn, and some that are on their way.
MOST_BEFORE_ITS_TURN = 6 * PLACES


class BusyVllm(FakeVllm):
    """An engine that works on a few requests at once, first come, first served."""

    def __init__(self) -> None:
        super().__init__()
        self.places = asyncio.Semaphore(PLACES)
        self.at_once = self.most = 0

    async def chat(self, request: Request) -> Response:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            async with self.places:
                await asyncio.sleep(ENGINE_SECONDS)
                return await super().chat(request)
        finally:
            self.at_once -= 1


@pytest.fixture
async def vllm() -> BusyVllm:
    return BusyVllm()


@pytest.fixture(
    params=[
        pytest.param(True, id="limits"),
        pytest.param(False, id="control", marks=pytest.mark.faults),
    ]
)
def limited(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def settings(limited: bool, tmp_path: Path, keys: dict[str, str]) -> dict[str, Any]:
    base = {
        "database_url": f"sqlite+aiosqlite:///{tmp_path}/router.db",
        "artifacts_url": f"file://{tmp_path}/artifacts",
        "keys_file": keys["file"],
        "adapter_cache": tmp_path / "cache",
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "vllm_timeout": 30.0,
    }
    return base | ({"vllm_at_once": PLACES, "vllm_waiting": 32} if limited else {})


def question(tenant: str) -> dict[str, Any]:
    asked = [{"role": "user", "content": "Where is my parcel?"}]
    return {"model": f"{tenant}/support-triage", "messages": asked}


async def flood(router: Running, statuses: Counter[int]) -> None:
    limits = httpx.Limits(max_connections=FLOOD)
    async with httpx.AsyncClient(limits=limits, timeout=60) as http:
        headers = {"authorization": f"Bearer {router.secrets['acme']}"}

        async def insist() -> None:
            while True:
                url = f"{router.url}/v1/chat/completions"
                answer = await http.post(url, json=question("acme"), headers=headers)
                statuses[answer.status_code] += 1
                if answer.status_code == 429:
                    assert answer.headers["retry-after"] == "1"
                    assert answer.json()["error"]["type"] == "rate_limit_error"
                    await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as all_of_them:
            for _ in range(FLOOD):
                all_of_them.create_task(insist())


@pytest.fixture
async def flooded(router: Running) -> AsyncIterator[Counter[int]]:
    for tenant in ("acme", "globex"):
        await router.create(factories.spec(name=f"{tenant}/support-triage"))
    statuses: Counter[int] = Counter()
    task = asyncio.create_task(flood(router, statuses))
    await asyncio.sleep(2.0)
    yield statuses
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_tenant_cannot_starve_another(
    router: Running, vllm: BusyVllm, flooded: Counter[int], limited: bool
) -> None:
    waited_for = []
    async with router.http("globex") as http:
        for _ in range(ASKED):
            before = flooded[200]
            answer = await http.post("/v1/chat/completions", json=question("globex"))
            assert answer.status_code == 200
            waited_for.append(flooded[200] - before)
    longest = sorted(waited_for)[-2]
    if limited:
        assert longest < MOST_BEFORE_ITS_TURN
        assert vllm.most <= PLACES
        assert flooded[200] > 20 and flooded[429] > FLOOD // 2
    else:
        assert longest > MOST_BEFORE_ITS_TURN
        assert vllm.most > PLACES

"""A tenant that floods capture takes nothing from another: a real server, two tenants."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.unit.capture.conftest import serve
from tests.unit.http.servers import serving

FLOOD = 60  # requests of the other tenant at any time, of two hundred items each
AT_ONCE = 4
ASKED = 8
PATH = "/v1/inferences"


async def slowest_beside_a_flood(
    keys: dict[str, str], folder: Path, at_once: int
) -> tuple[float, Counter[int]]:
    """Return the second slowest of one tenant's answers while another floods, and what that one
    was answered.
    """
    folder.mkdir()
    url = f"sqlite+aiosqlite:///{folder}/capture.db"
    service = await serve(url, keys, folder, tenant_requests_at_once=at_once)
    statuses: Counter[int] = Counter()
    item = {"route": "support-triage", "input": "Where is my parcel?" * 20, "answer": "delivery"}
    batch = json.dumps({"inferences": [item] * 200}).encode()

    def headers(tenant: str) -> dict[str, str]:
        return {"authorization": f"Bearer {keys[tenant]}"}

    async def insist(http: httpx.AsyncClient, url: str) -> None:
        while True:
            answer = await http.post(url + PATH, content=batch, headers=headers("acme"))
            statuses[answer.status_code] += 1
            if answer.status_code == 429:
                await asyncio.sleep(int(answer.headers["retry-after"]))

    limits = httpx.Limits(max_connections=FLOOD)
    async with (
        serving(service.api, service.settings) as server,
        httpx.AsyncClient(limits=limits, timeout=60) as flooding,
        httpx.AsyncClient(timeout=60) as http,
    ):
        tasks = [asyncio.create_task(insist(flooding, server.url)) for _ in range(FLOOD)]
        await asyncio.sleep(1.0)
        seconds = []
        for _ in range(ASKED):
            started = time.perf_counter()
            answer = await http.post(server.url + PATH, json=item, headers=headers("globex"))
            assert answer.status_code == 202
            seconds.append(time.perf_counter() - started)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(seconds)[-2], statuses


@pytest.mark.faults
async def test_one_tenant_cannot_starve_another(keys: dict[str, str], tmp_path: Path) -> None:
    limited, statuses = await slowest_beside_a_flood(keys, tmp_path / "limits", AT_ONCE)
    assert statuses[202] > 5 and statuses[429] > FLOOD // 2
    control, statuses = await slowest_beside_a_flood(keys, tmp_path / "control", 10_000)
    assert statuses[429] == 0
    assert limited < 0.5 * control

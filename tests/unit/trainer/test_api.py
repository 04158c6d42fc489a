"""The HTTP side: adapters and jobs of the key's own tenant, and a failed job's second chance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.trainer.order import JOB
from shared.service import Service
from tests import factories
from tests.unit.trainer.worlds import Fake, trainer_service


@pytest.fixture
async def service(tmp_path: Path, keys: dict[str, str]) -> AsyncIterator[Service]:
    service = trainer_service(
        tmp_path, f"sqlite+aiosqlite:///{tmp_path}/t.db", keys["file"], Fake()
    )
    await service.db.create_tables(service.metadata)
    yield service
    await service.db.close()


def client(service: Service, secret: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(service.api),
        base_url="http://t",
        headers={"authorization": f"Bearer {secret}"},
    )


async def queued(service: Service) -> str:
    event = factories.dataset()
    async with service.db.transaction() as tx:
        await service.parts.jobs.add(tx, JOB, event.event_id, event.model_dump(mode="json"))
    return (await service.parts.jobs.all())[0].job_id


async def test_adapters_are_listed_newest_first_and_shown_with_their_lineage(
    service: Service, keys: dict[str, str]
) -> None:
    older = factories.trained(job_id="job-1")
    newer = factories.trained(job_id="job-2", adapter=factories.adapter("ffffffffffff"))
    async with service.db.transaction() as tx:
        for event in (older, newer):
            await service.parts.adapters.add(tx, event)
    async with client(service, keys["acme"]) as http:
        found = (await http.get("/v1/adapters", params={"limit": 1})).json()
        shown = (await http.get(f"/v1/adapters/{older.adapter.adapter_id}")).json()
    assert [item["adapter"]["adapter_id"] for item in found["items"]] == [
        newer.adapter.adapter_id
    ] and found["next"] == 1
    assert shown["dataset_id"] == older.dataset_id and shown["recipe_sha256"] == older.recipe_sha256


async def test_another_tenant_finds_nothing(service: Service, keys: dict[str, str]) -> None:
    event = factories.trained()
    job_id = await queued(service)
    async with service.db.transaction() as tx:
        await service.parts.adapters.add(tx, event)
    async with client(service, keys["globex"]) as http:
        assert (await http.get("/v1/adapters")).json()["items"] == []
        assert (await http.get("/v1/jobs")).json()["items"] == []
        assert (await http.get(f"/v1/adapters/{event.adapter.adapter_id}")).status_code == 404
        assert (await http.get(f"/v1/jobs/{job_id}")).status_code == 404
        for act in ("retry", "cancel"):
            assert (
                await http.post(f"/v1/jobs/{job_id}/{act}", json={"reason": "why not"})
            ).status_code == 404

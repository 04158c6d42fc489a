"""The HTTP side: everything belongs to the tenant of the key, reports are shown without this
origin's rights.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from schemas.events import AdapterEvaluated
from services.evaluator.app import build
from services.evaluator.settings import Settings
from shared.service import Service
from tests import factories


@pytest.fixture
async def service(tmp_path: Path, keys: dict[str, str]) -> Service:
    service = build(
        Settings(
            database_url=f"sqlite+aiosqlite:///{tmp_path}/e.db",
            artifacts_url=f"file://{tmp_path}/a",
            keys_file=keys["file"],
            cache_dir=tmp_path / "cache",
        )
    )
    await service.db.create_tables(service.metadata)
    yield service
    await service.db.close()


def client(service: Service, secret: str | None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(service.api), base_url="http://e", headers=headers
    )


async def add(service: Service, **changes) -> AdapterEvaluated:
    report = service.parts.blobs.put_bytes(b"<h1>report</h1>", "reports", ".html")
    event = factories.evaluated(**({"report": report} | changes))
    async with service.db.transaction() as tx:
        await service.parts.evaluations.add(tx, event, [factories.calibration()])
    return event


async def test_evaluations_are_found_by_adapter_and_newest_first(
    service: Service, keys: dict[str, str]
) -> None:
    older = await add(service)
    newer = await add(service)
    await add(service, adapter=factories.adapter("ffffffffffff"))
    async with client(service, keys["acme"]) as http:
        found = (
            await http.get("/v1/evaluations", params={"adapter_id": newer.adapter.adapter_id})
        ).json()
        assert [event["evaluation_id"] for event in found["items"]] == [
            newer.evaluation_id,
            older.evaluation_id,
        ]
        first = (await http.get("/v1/evaluations", params={"limit": 1})).json()
        assert first["next"] == 1 and len(first["items"]) == 1
        one = (await http.get(f"/v1/evaluations/{older.evaluation_id}")).json()
    assert (
        AdapterEvaluated.model_validate(one) == older and one["calibrations"][0]["threshold"] == 0.7
    )


async def test_a_report_is_sandboxed(service: Service, keys: dict[str, str]) -> None:
    event = await add(service)
    async with client(service, keys["acme"]) as http:
        response = await http.get(f"/v1/evaluations/{event.evaluation_id}/report")
    assert response.text == "<h1>report</h1>"
    assert response.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


async def test_another_tenant_finds_nothing(service: Service, keys: dict[str, str]) -> None:
    event = await add(service)
    async with service.db.transaction() as tx:
        await service.parts.monitors.raise_alarm(tx, drift := factories.drift())
    async with client(service, keys["globex"]) as http:
        assert (await http.get("/v1/evaluations")).json()["items"] == []
        assert (await http.get("/v1/drift")).json() == {"monitors": [], "items": [], "next": None}
        for path in (
            f"/v1/evaluations/{event.evaluation_id}",
            f"/v1/evaluations/{event.evaluation_id}/report",
            f"/v1/drift/{drift.drift_id}/report",
        ):
            assert (await http.get(path)).status_code == 404
    async with client(service, None) as http:
        assert (await http.get("/v1/evaluations")).status_code == 401


async def test_monitors_alarms_and_jobs_can_be_read(service: Service, keys: dict[str, str]) -> None:
    state = service.parts
    async with service.db.transaction() as tx:
        changed = factories.route_changed(champion=factories.adapter())
        await state.monitors.follow(tx, changed, changed)
        await state.monitors.raise_alarm(tx, drift := factories.drift())
        await state.jobs.add(tx, "evaluate", "one", factories.trained().model_dump(mode="json"))
    async with client(service, keys["acme"]) as http:
        seen = (await http.get("/v1/drift", params={"route": factories.ROUTE})).json()
        (job,) = (await http.get("/v1/jobs")).json()["items"]
        missing = await http.get(f"/v1/drift/{drift.drift_id}/report")
    assert (
        seen["monitors"][0]["input"]["windows_compared"] == 0
        and seen["items"][0]["drift_id"] == drift.drift_id
    )
    assert job["state"] == "queued" and job["route"] == factories.ROUTE
    assert missing.status_code == 404 and missing.json()["error"] == "NoReport"

"""Jobs over HTTP, alike in the three services that have them: list, show, cancel, retry, within the
key's own tenant.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.dataset_builder.order import JOB as BUILD
from services.evaluator.app import build as build_evaluator
from services.evaluator.contests import JOB as EVALUATE
from services.evaluator.settings import Settings as EvaluatorSettings
from services.trainer.order import JOB as TRAIN
from shared.http.auth import new_key
from shared.jobs.worker import JobStore
from shared.service import Service
from tests import factories
from tests.unit.dataset_builder.rig import Rig, known_route, verdicts
from tests.unit.trainer.worlds import Fake, trainer_service

REASON = {"reason": "the GPU was replaced"}
WRONG = {"reason": "wrong recipe, says zoe@example.com"}
SAID = "cancelled by acme-all: wrong recipe, says [EMAIL]"


async def trainer(folder: Path, url: str, keys_file: str) -> tuple[Service, str]:
    service = trainer_service(folder, url, keys_file, Fake())
    await service.db.create_tables(service.metadata)
    await add(service, TRAIN, factories.dataset())
    return service, TRAIN


async def evaluator(folder: Path, url: str, keys_file: str) -> tuple[Service, str]:
    service = build_evaluator(
        EvaluatorSettings(
            database_url=url,
            artifacts_url=f"file://{folder}/a",
            keys_file=keys_file,
            cache_dir=folder / "cache",
        )
    )
    await service.db.create_tables(service.metadata)
    await add(service, EVALUATE, factories.trained())
    return service, EVALUATE


async def dataset_builder(folder: Path, url: str, keys_file: str) -> tuple[Service, str]:
    rig = await Rig(url, folder, keys_file).start()
    await rig.hear(known_route(), *verdicts(0, 30))
    return rig.service, BUILD


async def add(service: Service, kind: str, event) -> None:
    async with service.db.transaction() as tx:
        await service.parts.jobs.add(tx, kind, event.event_id, event.model_dump(mode="json"))


class Api:
    def __init__(self, service: Service, kind: str, keys: dict[str, str]) -> None:
        self.service = service
        self.kind = kind
        self.keys = keys
        self.jobs: JobStore = service.parts.jobs

    def of(self, tenant: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.service.api),
            base_url="http://t",
            headers={"authorization": f"Bearer {self.keys.get(tenant, tenant)}"},
        )


@pytest.fixture(params=[trainer, evaluator, dataset_builder], ids=lambda make: make.__name__)
async def api(
    request: pytest.FixtureRequest, tmp_path: Path, keys: dict[str, str]
) -> AsyncIterator[Api]:
    service, kind = await request.param(
        tmp_path, f"sqlite+aiosqlite:///{tmp_path}/j.db", keys["file"]
    )
    yield Api(service, kind, keys)
    await service.db.close()


async def test_a_job_is_listed_with_its_state_its_age_and_what_it_is_about(api: Api) -> None:
    async with api.of("acme") as http:
        listed = (
            await http.get(
                "/v1/jobs", params={"state": "queued", "route": factories.ROUTE, "limit": 1}
            )
        ).json()
        none = (await http.get("/v1/jobs", params={"state": "running"})).json()
        await api.jobs.claim(api.kind)
        [job] = (await http.get("/v1/jobs")).json()["items"]
        assert (await http.get("/v1/jobs", params={"state": "sleeping"})).status_code == 422
    assert listed["next"] == 1 and none == {"items": [], "next": None}
    assert (job["state"], job["attempt"], job["kind"], job["route"]) == (
        "running",
        1,
        api.kind,
        factories.ROUTE,
    )
    assert job["worker"] and 0 <= job["heartbeat_age_seconds"] < 60 and 0 <= job["age_seconds"] < 60
    assert {"dataset_id", "build"} & job.keys()


async def test_it_is_cancelled_and_retried_and_says_who_and_why(api: Api) -> None:
    job = await api.jobs.claim(api.kind)
    async with api.of("acme") as http:
        path = f"/v1/jobs/{job.job_id}"
        early = await http.post(f"{path}/retry", json=REASON)
        cancelled = await http.post(f"{path}/cancel", json=WRONG)
        twice = await http.post(f"{path}/cancel", json=WRONG)
        again = await http.post(f"{path}/retry", json=REASON)
        # not without a reason
        assert (await http.post(f"{path}/retry", json={})).status_code == 422
    assert (early.status_code, early.json()["error"]) == (409, "NotRetryable")
    assert (cancelled.status_code, cancelled.json()["error"]) == (202, SAID)
    assert (twice.status_code, twice.json()["error"]) == (409, "NotCancellable")
    assert again.status_code == 202 and (
        again.json()["state"],
        again.json()["attempt"],
        again.json()["error"],
    ) == ("queued", 0, None)
    assert [(entry["outcome"], entry["reason"]) for entry in again.json()["history"]] == [
        ("cancelled", SAID),
        ("retried", "asked for by acme-all: the GPU was replaced"),
    ]


async def test_a_failed_job_is_retried(api: Api) -> None:
    job = await api.jobs.claim(api.kind)
    async with api.service.db.transaction() as tx:
        await api.jobs.fail(tx, job, "out of memory", retry=False)
        if api.kind == BUILD:
            await api.service.workers[0].args[3](tx, job, "out of memory", False)
    async with api.of("acme") as http:
        assert (await http.get(f"/v1/jobs/{job.job_id}")).json()["error"] == "out of memory"
        assert (await http.post(f"/v1/jobs/{job.job_id}/retry", json=REASON)).status_code == 202
    assert (await api.jobs.claim(api.kind)).job_id == job.job_id


async def test_another_tenant_sees_and_stops_nothing(api: Api) -> None:
    [job] = await api.jobs.all()
    async with api.of("globex") as http:
        assert (await http.get("/v1/jobs")).json()["items"] == []
        assert (await http.get(f"/v1/jobs/{job.job_id}")).status_code == 404
        for act in ("cancel", "retry"):
            assert (await http.post(f"/v1/jobs/{job.job_id}/{act}", json=REASON)).status_code == 404
    assert (await api.jobs.all())[0].state == "queued"


async def test_reading_is_not_enough_to_cancel(api: Api) -> None:
    secret, record = new_key("reader", "acme", {"read"})
    keys_file = Path(api.keys["file"])
    keys_file.write_text(json.dumps({"keys": [record.model_dump(mode="json")]}))
    [job] = await api.jobs.all()
    async with api.of(secret) as http:
        assert (await http.get(f"/v1/jobs/{job.job_id}")).status_code == 200
        assert (await http.post(f"/v1/jobs/{job.job_id}/cancel", json=REASON)).status_code == 403

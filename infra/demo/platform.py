"""What the demo asks the running system: its HTTP APIs, as an ML engineer would use them."""

from __future__ import annotations

from typing import Any

import httpx

from infra.demo.patience import patiently
from schemas.route import RouteSpec


class Platform:
    def __init__(self, urls: dict[str, str], admin_key: str) -> None:
        self.urls = urls
        self.client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {admin_key}"}, timeout=30
        )

    async def put_route(self, spec: RouteSpec) -> None:
        body = spec.model_dump(mode="json")
        await patiently(lambda: self.client.post(f"{self.urls['router']}/v1/routes", json=body))

    async def route(self, name: str) -> dict[str, Any]:
        return await self._get("router", f"/v1/routes/{name}")

    async def champion(self, name: str) -> str | None:
        champion = (await self.route(name)).get("champion")
        return champion["adapter_id"] if champion else None

    async def datasets(self, name: str) -> list[dict[str, Any]]:
        return (await self._get("dataset-builder", "/v1/datasets", route=name))["items"]

    async def order_dataset(self, name: str, reason: str) -> None:
        await patiently(
            lambda: self.client.post(
                f"{self.urls['dataset-builder']}/v1/routes/{name}/datasets", json={"reason": reason}
            )
        )

    async def readiness(self, name: str) -> dict[str, Any]:
        return await self._get("dataset-builder", f"/v1/routes/{name}/readiness")

    async def training_jobs(self) -> list[dict[str, Any]]:
        return (await self._get("trainer", "/v1/jobs"))["items"]

    async def evaluations(self, name: str) -> list[dict[str, Any]]:
        return (await self._get("evaluator", "/v1/evaluations", route=name))["items"]

    async def drift_alarms(self, name: str) -> list[dict[str, Any]]:
        return (await self._get("evaluator", "/v1/drift", route=name))["items"]

    async def _get(self, service: str, path: str, **query: str) -> Any:
        return (
            await patiently(lambda: self.client.get(f"{self.urls[service]}{path}", params=query))
        ).json()

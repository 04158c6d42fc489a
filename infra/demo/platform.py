"""What the demo asks the running system: its HTTP APIs, as an ML engineer would use them."""

from __future__ import annotations

import httpx

from infra.demo.patience import patiently
from schemas.base import JsonObject
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

    async def route(self, name: str) -> JsonObject:
        return await self._get("router", f"/v1/routes/{name}")

    async def champion(self, name: str) -> str | None:
        champion = (await self.route(name)).get("champion")
        return champion["adapter_id"] if champion else None

    async def datasets(self, name: str) -> list[JsonObject]:
        return await self._items("dataset-builder", "/v1/datasets", route=name)

    async def order_dataset(self, name: str, reason: str) -> None:
        await patiently(
            lambda: self.client.post(
                f"{self.urls['dataset-builder']}/v1/routes/{name}/datasets", json={"reason": reason}
            )
        )

    async def readiness(self, name: str) -> JsonObject:
        return await self._get("dataset-builder", f"/v1/routes/{name}/readiness")

    async def training_jobs(self) -> list[JsonObject]:
        return await self._items("trainer", "/v1/jobs")

    async def evaluations(self, name: str) -> list[JsonObject]:
        return await self._items("evaluator", "/v1/evaluations", route=name)

    async def drift_alarms(self, name: str) -> list[JsonObject]:
        return await self._items("evaluator", "/v1/drift", route=name)

    async def _items(self, service: str, path: str, **query: str) -> list[JsonObject]:
        items: list[JsonObject] = (await self._get(service, path, **query))["items"]
        return items

    async def _get(self, service: str, path: str, **query: str) -> JsonObject:
        url = f"{self.urls[service]}{path}"
        response = await patiently(lambda: self.client.get(url, params=query))
        answer: JsonObject = response.json()
        return answer

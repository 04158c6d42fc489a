"""A whole router behind a real socket, over a fake vLLM behind another one, with no event log
anywhere.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from sqlalchemy import select

from schemas.base import AdapterRef
from schemas.route import RouteSpec
from schemas.topics import topic_of
from services.router.app import Parts, build
from services.router.settings import Settings
from shared.service import Service
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.router.fakes import FakeVllm, served
from tests.unit.router.real_vllm import lora, real

__all__ = ["lora", "real"]


class NoSender:
    """The event log is away: what is published stays in the outbox."""

    async def send(self, rows: Any) -> None:
        from shared.events.sending import BrokerUnavailable

        raise BrokerUnavailable(ConnectionError())

    async def close(self) -> None: ...


@dataclass
class Running:
    """A router that runs, with hands on its parts."""

    service: Service[Parts]
    url: str
    vllm: FakeVllm
    secrets: dict[str, str]
    blobs: BlobStore
    folder: Path

    def http(self, tenant: str = "acme") -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.secrets[tenant]}"},
            timeout=20,
        )

    def openai(self, tenant: str = "acme") -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.secrets[tenant], max_retries=0)

    async def create(self, spec: RouteSpec | None = None) -> dict[str, Any]:
        spec = spec or factories.spec()
        async with self.http(spec.name.partition("/")[0]) as http:
            answer = await http.post("/v1/routes", json=spec.model_dump(mode="json"))
            assert answer.status_code in (200, 201), answer.text
            return answer.json()

    async def chat(self, text: str = "Where is my parcel?", **body: Any) -> httpx.Response:
        async with self.http() as http:
            return await http.post(
                "/v1/chat/completions",
                json={"model": factories.ROUTE, "messages": [{"role": "user", "content": text}]}
                | body,
            )

    def adapter(self, mark: str = "one", **files: str) -> AdapterRef:
        return store_adapter(self.blobs, self.folder / mark, mark, files)

    async def handle(self, event: Any) -> None:
        """What the bus does with an event, without the bus."""
        async with self.service.db.transaction() as tx:
            await self.service.handlers[topic_of(type(event))](tx, event)
        await self.service.parts.table.refresh()

    async def promote(self, adapter: AdapterRef, **changes: Any) -> None:
        """Evaluated, proven, canary over: champion."""
        from tests.unit.router.fakes import until

        await self.handle(factories.evaluated(adapter=adapter, **changes))
        await until(lambda: self.state().champion == adapter)

    def state(self, route: str = factories.ROUTE) -> Any:
        return self.service.parts.table.views[route].state

    async def events(self, kind: str) -> list[dict[str, Any]]:
        table = self.service.outbox.table
        async with self.service.db.read() as connection:
            rows = await connection.execute(
                select(table.c.payload).where(table.c.type == kind).order_by(table.c.seq)
            )
            return [json.loads(row.payload) for row in rows]


def store_adapter(blobs: BlobStore, folder: Path, mark: str, files: dict[str, str]) -> AdapterRef:
    """The smallest folder that is an adapter in form."""
    folder.mkdir(parents=True)
    header = json.dumps(
        {
            f"base_model.model.q_proj.lora_{half}.weight": {
                "dtype": "U8",
                "shape": [len(mark)],
                "data_offsets": [0, len(mark)],
            }
            for half in "AB"
        }
    ).encode()
    (folder / "adapter_model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + mark.encode()
    )
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 8, "bias": "none"})
    )
    for name, text in files.items():
        (folder / name).write_text(text)
    ref = blobs.put_folder(folder, "adapters")
    return AdapterRef(adapter_id=f"acme--support-triage@{ref.sha256[:12]}", blob=ref)


@pytest.fixture
async def vllm() -> FakeVllm:
    return FakeVllm()


@pytest.fixture
def settings(tmp_path: Path, keys: dict[str, str]) -> dict[str, Any]:
    """Tests change this before they ask for `router`, with @pytest.mark.parametrize or a fixture of
    their own.
    """
    return {
        "database_url": f"sqlite+aiosqlite:///{tmp_path}/router.db",
        "artifacts_url": f"file://{tmp_path}/artifacts",
        "keys_file": keys["file"],
        "adapter_cache": tmp_path / "cache",
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "reconcile_seconds": 0.1,
        "drain_seconds": 0.0,
        "canary_requests": 0,
        "canary_seconds": 0.0,
        "vllm_timeout": 5.0,
        "surrogate_secret": factories.SURROGATE_SECRET,
    }


@pytest.fixture
async def router(
    vllm: FakeVllm, settings: dict[str, Any], keys: dict[str, str], tmp_path: Path
) -> AsyncIterator[Running]:
    async with served(vllm.app) as upstream:
        service = build(Settings(**({"vllm_url": upstream} | settings)), sender=NoSender())
        async with served(service.api) as url:
            yield Running(
                service, url, vllm, keys, BlobStore(settings["artifacts_url"]), tmp_path / "made"
            )

"""The whole system under test: a broker, six services as forked processes, stub vLLMs, keys;
nothing outlives the `async with`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import httpx
from sqlalchemy import text

from schemas.topics import SERVICES
from shared.http.auth import new_key
from shared.storage.db import Database
from tests.faults.evidence import query
from tests.faults.forking import Zygote
from tests.faults.life import Life
from tests.faults.stub_vllm import knowing
from tests.faults.switches import WITNESS
from tests.kafka import free_port
from tests.postgres import PostgresServer
from tests.unit.router.fakes import FakeVllm, served

TENANT = "acme"
SCOPES = {"infer", "capture:write", "feedback:write", "review", "admin", "read"}
PATIENCE = 120.0  # seconds; six services start at once on however many cores there are


class NotReady(Exception):
    def __init__(self, service: str, log: str) -> None:
        super().__init__(f"{service} did not become ready; its log ends with\n{log}")


class World:
    """`servers` may change (a proxy, a broker that moved) before a service is started; `postgres`
    None means SQLite.
    """

    def __init__(
        self, folder: Path, servers: str, zygote: Zygote, postgres: PostgresServer | None = None
    ) -> None:
        self.folder = folder
        self.servers = servers
        self.zygote = zygote
        self.postgres = postgres
        self.ports = {service: free_port() for service in SERVICES}
        self.urls = {service: f"http://127.0.0.1:{port}" for service, port in self.ports.items()}
        self.databases: dict[str, str] = {}
        self.pids: dict[str, int] = {}
        self.forked: list[int] = []
        self.options: dict[str, Any] = {}  # of every life: switches, constants
        self.engines = {name: FakeVllm(knowing) for name in ("serving", "evaluation")}
        self.own_settings: dict[str, dict[str, Any]] = {service: {} for service in SERVICES}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        secret, record = new_key("everyone", TENANT, SCOPES)
        (self.folder / "keys.json").write_text(
            json.dumps({"keys": [record.model_dump(mode="json")]})
        )
        self.client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {secret}"},
            timeout=10,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._stack.push_async_callback(self.client.aclose)
        self.vllm = {
            name: await self._stack.enter_async_context(served(engine.app))
            for name, engine in self.engines.items()
        }
        for service in SERVICES:
            await self.prepare_database(service)
        return self

    async def __aexit__(self, *_: object) -> None:
        for pid in self.forked:
            self.zygote.signal(pid, signal.SIGKILL)
        await self._stack.aclose()

    async def prepare_database(self, service: str) -> None:
        local = f"sqlite+aiosqlite:///{self.folder}/{service}.db"
        self.databases[service] = (
            await asyncio.to_thread(self.postgres.new_database) if self.postgres else local
        )
        db = Database(self.databases[service])
        async with db.transaction() as tx:
            await tx.execute(text(WITNESS))
        await db.close()

    def settings(self, service: str) -> dict[str, Any]:
        common = {
            "kafka_bootstrap_servers": self.servers,
            "kafka_instance_id": f"faults-{service}",
            "database_url": self.databases[service],
            "artifacts_url": f"file://{self.folder}/artifacts",
            "keys_file": str(self.folder / "keys.json"),
            "port": self.ports[service],
            "log_level": "WARNING",
            "log_format": "json",
        }
        own: dict[str, dict[str, Any]] = {
            "router": {
                "vllm_url": self.vllm["serving"],
                "adapter_cache": f"{self.folder}/serving",
                "canary_requests": 2,
                "canary_seconds": 0.5,
                "canary_share": 0.5,
            },
            "evaluator": {
                "vllm_url": self.vllm["evaluation"],
                "cache_dir": f"{self.folder}/evaluator",
            },
            "trainer": {"base_model": "org/model", "work_dir": f"{self.folder}/trainer"},
        }
        return common | own.get(service, {}) | self.own_settings[service]

    def life(self, service: str, settings: dict[str, Any] | None = None, **arranged: Any) -> Life:
        log = str(self.folder / f"{service}.log")
        fired = str(self.folder / f"{service}.fired")
        return Life(
            service,
            self.settings(service) | (settings or {}),
            log,
            fired,
            **self.options | arranged,
        )

    def fork(self, life: Life) -> int:
        self.forked.append(self.zygote.fork(life))
        return self.forked[-1]

    def start(self, service: str, **arranged: Any) -> int:
        self.pids[service] = self.fork(self.life(service, **arranged))
        return self.pids[service]

    async def start_all(self) -> None:
        for service in SERVICES:
            self.start(service)
        await self.until_ready(*SERVICES)

    async def stop(self, service: str, number: signal.Signals = signal.SIGTERM) -> int:
        pid = self.pids.pop(service)
        self.zygote.signal(pid, number)
        return await self.zygote.end_of(pid)

    async def until_ready(self, *services: str, seconds: float = PATIENCE) -> None:
        late = set(services)
        deadline = time.monotonic() + seconds
        while late := {service for service in late if not await self.ready(service)}:
            for service in late & self.pids.keys():
                if (
                    self.zygote.ended.get(self.pids[service]) is not None
                    or time.monotonic() > deadline
                ):
                    raise NotReady(service, Path(self.life(service).log).read_text()[-3000:])
            await asyncio.sleep(0.1)

    async def ready(self, service: str) -> bool:
        return await self.ready_at(self.urls[service])

    async def ready_at(self, url: str) -> bool:
        try:
            answer = await self.client.get(f"{url}/health/ready")
            return answer.status_code == 200 and answer.json()["consuming"]
        except httpx.HTTPError:
            return False

    async def until_published(self, service: str, topic: str, seconds: float = PATIENCE) -> None:
        """However slow the machine is: the flow has come as far as this event."""
        async with asyncio.timeout(seconds):
            while True:
                (found,) = await query(
                    self.databases[service],
                    f"select seq from outbox where aggregatetype = '{topic}' and sent_at is not"
                    " null limit 1",
                )
                if found:
                    return
                await asyncio.sleep(0.3)

    async def call(self, service: str, path: str, body: Any = None) -> httpx.Response:
        url = f"{self.urls[service]}{path}"
        return await (self.client.get(url) if body is None else self.client.post(url, json=body))


def keys_file(folder: Path) -> Path:
    """For a service that nobody asks anything."""
    (folder / "keys.json").write_text('{"keys": []}')
    return folder / "keys.json"

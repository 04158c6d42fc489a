"""A router of two processes at 50 requests a second, while what it stands on is killed: a process
of its own, its database, the event log, the engine.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import text

from schemas.base import Event
from shared.events import cloudevent_headers
from shared.http import new_key
from shared.storage.blobs import BlobStore
from shared.storage.db import Database
from tests import factories
from tests.faults.stub_vllm import question
from tests.kafka import Broker, free_port
from tests.postgres import PostgresServer
from tests.unit.router.conftest import store_adapter

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
PER_SECOND = 50
TENANT = factories.ROUTE.partition("/")[0]


class Program:
    """A program that can be killed and started again."""

    def __init__(
        self, module: str, folder: Path, arguments: list[str], env: dict[str, str]
    ) -> None:
        self.argv = [sys.executable, "-m", module, *arguments]
        self.log = folder / f"{module}.log"
        self.env = os.environ | env
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, env=self.env, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@dataclass
class Answer:
    """What one request came to; `status` 0 where the connection broke."""

    at: float
    status: int
    label: str
    content: str = ""
    outcome: str = ""
    inference_id: str = ""

    @property
    def is_wrong(self) -> bool:
        return self.outcome in ("confident", "fell_back") and self.content != self.label


@dataclass
class Trial:
    router: Program
    engine: Program
    broker: Broker
    postgres: PostgresServer
    url: str
    key: str
    database: str
    answers: list[Answer] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(12))

    async def load(self, seconds: float) -> list[Answer]:
        """Send at a fixed rate, each request on a connection of its own."""
        headers = {"authorization": f"Bearer {self.key}"}
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(headers=headers, timeout=30, limits=limits) as http:
            sending = []
            began = time.monotonic()
            for number in range(int(seconds * PER_SECOND)):
                due = (number + 1) / PER_SECOND
                await asyncio.sleep(max(0.0, began + due - time.monotonic()))
                sending.append(asyncio.create_task(self.ask(http)))
            answers = await asyncio.gather(*sending)
        self.answers += answers
        return answers

    async def ask(self, http: httpx.AsyncClient) -> Answer:
        content, label = question(self.rng)
        body = {"model": factories.ROUTE, "messages": [{"role": "user", "content": content}]}
        answer = Answer(time.monotonic(), 0, label)
        try:
            got = await http.post(f"{self.url}/v1/chat/completions", json=body)
        except httpx.HTTPError:
            return answer
        answer.status = got.status_code
        if got.status_code == 200:
            said = got.json()
            answer.content = said["choices"][0]["message"]["content"]
            answer.outcome = said["ratchet"]["outcome"]
            answer.inference_id = said["ratchet"]["inference_id"]
        return answer

    async def is_well(self) -> bool:
        answers = await self.load(0.5)
        return all(answer.outcome == "confident" for answer in answers)

    async def recovers(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not await self.is_well():
                await asyncio.sleep(0.2)

    async def recorded(self) -> Counter[str]:
        db = Database(self.database)
        async with db.read() as connection:
            rows = await connection.execute(text("select inference_id from decisions"))
            found = Counter(rows.scalars())
        await db.close()
        return found

    async def check(self) -> None:
        """No wrong answer was given for a right one, and every answer is on record once."""
        assert not [answer for answer in self.answers if answer.is_wrong]
        given = {answer.inference_id for answer in self.answers if answer.inference_id}
        kept = await self.recorded()
        assert given <= set(kept)
        assert set(kept.values()) == {1}


async def publish(servers: str, event: Event, service: str) -> None:
    headers = [(name, value.encode()) for name, value in cloudevent_headers(event, service).items()]
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        body = event.model_dump_json().encode()
        await producer.send_and_wait(
            event.topic_name(), body, key=event.route.encode(), headers=headers
        )


@pytest.fixture
async def trial(
    embedded: Broker, postgres_server: PostgresServer, tmp_path: Path
) -> AsyncIterator[Trial]:
    secret, record = new_key("app", TENANT, {"infer", "admin", "read"})
    keys = {"keys": [record.model_dump(mode="json")]}
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    database = postgres_server.new_database()
    engine_port, port = free_port(), free_port()
    env = {
        "DATABASE_URL": database,
        "KAFKA_BOOTSTRAP_SERVERS": embedded.servers,
        "KAFKA_INSTANCE_ID": "router-under-test",
        "RATCHET_KEYS_FILE": str(tmp_path / "keys.json"),
        "ARTIFACTS_URL": f"file://{tmp_path}/artifacts",
        "ROUTER_ADAPTER_CACHE": f"{tmp_path}/cache",
        "ROUTER_VLLM_URL": f"http://127.0.0.1:{engine_port}",
        "ROUTER_CANARY_REQUESTS": "0",
        "ROUTER_CANARY_SECONDS": "0",
        "PORT": str(port),
        "WORKERS": "2",
    }
    engine = Program("tests.faults.engine", tmp_path, [str(engine_port)], {})
    router = Program("services.router", tmp_path, [], env)
    url = f"http://127.0.0.1:{port}"
    try:
        trial = Trial(router, engine, embedded, postgres_server, url, secret, database)
        await prepare(trial, tmp_path)
        yield trial
    finally:
        router.kill()
        engine.kill()


async def prepare(trial: Trial, folder: Path) -> None:
    """Make a route with a champion whose answers are trusted."""
    keyed = {"authorization": f"Bearer {trial.key}"}
    async with httpx.AsyncClient(headers=keyed, timeout=60) as http:
        spec = factories.spec(labels=("delivery", "refund", "password"))
        async with asyncio.timeout(120):
            while True:
                try:
                    sent = spec.model_dump(mode="json")
                    assert (await http.post(f"{trial.url}/v1/routes", json=sent)).is_success
                    break
                except httpx.HTTPError:
                    await asyncio.sleep(0.2)
    blobs = BlobStore(f"file://{folder}/artifacts")
    adapter = store_adapter(blobs, folder / "adapter", "one", {})
    servers = trial.broker.servers
    await publish(servers, factories.evaluated(adapter=adapter), "evaluator")
    spec = factories.spec(labels=("delivery", "refund", "password"))
    fitted = factories.calibration(spec, adapter_id=adapter.adapter_id, threshold=0.5)
    await publish(servers, fitted, "evaluator")
    await trial.recovers(60)
    trial.answers.clear()


async def after(seconds: float, happen: Any) -> None:
    await asyncio.sleep(seconds)
    await asyncio.to_thread(happen)


async def test_a_process_that_is_killed_takes_only_its_own_requests_along(trial: Trial) -> None:
    one, _ = trial.router.children()
    killing = asyncio.create_task(after(3, lambda: os.kill(one, signal.SIGKILL)))
    answers = await trial.load(10)
    await killing
    failed = [answer for answer in answers if answer.status != 200]
    # What it had accepted: a few; the others go on, and within a second it is back.
    assert len(failed) <= PER_SECOND
    assert {answer.status for answer in failed} <= {0}
    await trial.recovers(20)
    assert len(trial.router.children()) == 2
    assert one not in trial.router.children()
    await trial.check()


async def test_without_its_database_it_says_so_and_comes_back(trial: Trial) -> None:
    killing = asyncio.create_task(after(3, trial.postgres.kill))
    answers = asyncio.create_task(trial.load(10))
    await killing
    await asyncio.sleep(2)
    await asyncio.to_thread(trial.postgres.start)
    assert {answer.status for answer in await answers} == {200, 503}
    await trial.recovers(40)
    await trial.check()


async def test_without_the_event_log_every_request_is_answered(trial: Trial) -> None:
    killing = asyncio.create_task(after(3, trial.broker.kill))
    answers = await trial.load(8)
    await killing
    assert {answer.status for answer in answers} == {200}
    await asyncio.to_thread(trial.broker.start)
    db = Database(trial.database)
    async with asyncio.timeout(60):
        while True:
            async with db.read() as connection:
                waiting = "select count(*) from outbox where sent_at is null"
                if not (await connection.execute(text(waiting))).scalar_one():
                    break
            await asyncio.sleep(0.2)
    await db.close()
    await trial.check()


async def test_without_the_engine_it_says_so_and_proves_adapters_anew(trial: Trial) -> None:
    killing = asyncio.create_task(after(3, trial.engine.kill))
    answers = asyncio.create_task(trial.load(10))
    await killing
    await asyncio.sleep(2)
    await asyncio.to_thread(trial.engine.start)
    assert {answer.status for answer in await answers} <= {200, 503, 429}
    await trial.recovers(40)
    await trial.check()

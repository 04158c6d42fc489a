"""Ratchet's capture as it runs in production: redaction on, durable before the 202, its relay
publishing to a broker.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.capture import broker, load, payloads
from benchmarks.capture.figures import Figures
from benchmarks.capture.plan import Plan
from benchmarks.capture.processes import SERVER_CORE, Pinned
from infra.local.ports import free_port
from schemas.events import RouteChanged
from schemas.route import RouteSpec
from schemas.topics import INFERENCE_RECORDED
from shared.http import new_key

PATH = "/v1/inferences"
TENANT = payloads.ROUTE.split("/")[0]


async def measure(plan: Plan, folder: Path) -> Figures:
    with (
        broker.running(folder / "broker") as servers,
        serving(servers, folder) as (server, port, key),
    ):
        await broker.publish(servers, route())
        async with broker.watching(
            servers, INFERENCE_RECORDED.name, INFERENCE_RECORDED.partitions
        ) as topic:
            await known_route(port, key)
            await warm_up(port, key, plan)
            figures = Figures("ratchet capture", "redacted, durable before the 202, published")
            await batches(figures, server, port, key, topic, plan)
            await singles(figures, server, port, key, plan)
    return figures


@contextmanager
def serving(
    servers: str, folder: Path, more: Mapping[str, str] | None = None
) -> Iterator[tuple[Pinned, int, str]]:
    secret, record = new_key("benchmark", TENANT, {"capture:write"})
    keys = folder / "keys.json"
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    keys.write_text(json.dumps({"keys": [record.model_dump(mode="json")]}))
    environment = {
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/capture.db",
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "PORT": str(port),
        "RATCHET_KEYS_FILE": str(keys),
        "ARTIFACTS_URL": f"file://{folder}/artifacts",
        **(more or {}),
    }
    with Pinned(
        "capture", [sys.executable, "-m", "services.capture"], folder, SERVER_CORE, environment
    ) as server:
        server.wait_for_port(port)
        yield server, port, secret


def route() -> RouteChanged:
    spec = RouteSpec(
        name=payloads.ROUTE,
        labels=("delivery", "refund"),
        system_prompt="Classify.",
        detailed_prompt="Choose one of: {labels}.",
    )
    return RouteChanged(
        tenant=TENANT,
        route=payloads.ROUTE,
        version=1,
        spec=spec,
        because="created",
        actor="benchmark",
    )


def requests(bodies: list[bytes], key: str) -> list[bytes]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return [load.http(PATH, body, headers) for body in bodies]


async def known_route(port: int, key: str) -> None:
    """Until the service has heard of the route it rejects what is sent."""
    probe = requests(payloads.ratchet_bodies(1, 1), key)
    async with asyncio.timeout(60):
        while (await load.closed_loop(port, probe, 1)).statuses != {202: 1}:
            await asyncio.sleep(0.2)


async def warm_up(port: int, key: str, plan: Plan) -> None:
    await load.closed_loop(
        port, requests(payloads.ratchet_bodies(20 * plan.batch, plan.batch), key), plan.connections
    )


async def batches(
    figures: Figures, server: Pinned, port: int, key: str, topic: broker.Growth, plan: Plan
) -> None:
    prepared = requests(payloads.ratchet_bodies(plan.inferences, plan.batch), key)
    await settled(topic)
    there = await topic.records()
    cpu = server.cpu_seconds()
    began = time.perf_counter()
    outcome = await load.closed_loop(port, prepared, plan.connections)
    await topic.reaches(there + plan.inferences)
    figures.rates(plan.inferences, outcome, time.perf_counter() - began, server.cpu_seconds() - cpu)


async def settled(topic: broker.Growth) -> None:
    """What the warm-up sent is published too, so that its work is not counted."""
    before = -1
    while (now := await topic.records()) != before:
        before = now
        await asyncio.sleep(1.0)


async def singles(figures: Figures, server: Pinned, port: int, key: str, plan: Plan) -> None:
    prepared = requests(payloads.ratchet_bodies(plan.singles, 1), key)
    figures.latency(await load.open_loop(port, prepared, plan.rate, plan.connections * 4))
    figures.memory_mb = server.memory_mb()

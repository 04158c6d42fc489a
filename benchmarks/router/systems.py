"""The gateways under measurement, each started in a folder of its own; none outlives its `with`.

Nothing is pinned: the load, the model server and the gateway share the machine's cores, as does the
event log of the router.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.capture import broker
from benchmarks.capture.processes import Process
from infra.local.ports import free_port
from schemas.base import uuid7
from schemas.events import CalibrationFitted
from shared.http import new_key

TENANT = "acme"
ROUTE = f"{TENANT}/intents"
SYSTEM = "You sort customer mail."
READY_SECONDS = 120.0
# Where a client wants a key and nobody looks at it.
WITHOUT = "none"
LITELLM = Path(".litellm")
# The newest whose proxy can be installed from PyPI alone.
LITELLM_VERSION = "1.83.0"


@dataclass(frozen=True)
class Served:
    """A gateway that answers: where, and which of its processes to watch."""

    process: Process
    port: int
    key: str = WITHOUT
    model: str = ROUTE


@contextmanager
def upstream(folder: Path) -> Iterator[tuple[Process, int]]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.router.upstream", str(port)]
    with Process("upstream", command, folder) as process:
        process.wait_for_port(port)
        yield process, port


@contextmanager
def bare(folder: Path, model_port: int, workers: int) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.router.bare", str(port), str(workers)]
    environment = {"UPSTREAM_PORT": str(model_port)}
    with Process("bare", command, folder, environment) as process:
        process.wait_for_port(port)
        yield Served(process, port)


@contextmanager
def litellm(folder: Path, model_port: int, workers: int) -> Iterator[Served]:
    """LiteLLM's proxy without database, keys and logging: `make` it by `install_litellm`."""
    port = free_port()
    config = folder / "litellm.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    model = {"model": "openai/base", "api_base": f"http://127.0.0.1:{model_port}/v1"}
    listed = {"model_name": ROUTE, "litellm_params": model | {"api_key": WITHOUT}}
    config.write_text(yaml.safe_dump({"model_list": [listed]}))
    command = [str(LITELLM / "bin" / "litellm"), "--config", str(config), "--port", str(port)]
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    more = ["--host", "127.0.0.1", "--num_workers", str(workers), "--telemetry", "False"]
    with Process("litellm", [*command, *more], folder, environment) as process:
        process.wait_for_port(port)
        yield Served(process, port)


@contextmanager
def ratchet(
    folder: Path, model_port: int, workers: int, durability: str = "relaxed"
) -> Iterator[Served]:
    """Start the router as it runs in production: redaction, calibrated confidence, every answer
    recorded and published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    secret, record = new_key("benchmark", TENANT, {"infer", "admin", "read"})
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"keys": [record.model_dump(mode="json")]}))
    port = free_port()
    with broker.running(folder / "broker", core=None) as servers:
        environment = {
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/router.db",
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "PORT": str(port),
            "RATCHET_KEYS_FILE": str(keys),
            "ARTIFACTS_URL": f"file://{folder}/artifacts",
            "ROUTER_ADAPTER_CACHE": f"{folder}/serving",
            "ROUTER_VLLM_URL": f"http://127.0.0.1:{model_port}",
            "WORKERS": str(workers),
            "TENANT_REQUESTS_PER_SECOND": "100000",
            "KEY_REQUESTS_PER_SECOND": "100000",
        }
        command = [sys.executable, "-m", "services.router"]
        with Process("router", command, folder, environment) as process:
            process.wait_for_port(port)
            make_route(port, secret, durability, servers)
            yield Served(process, port, secret)


def make_route(port: int, key: str, durability: str, servers: str) -> None:
    """Make a route whose answers are trusted, and wait until it gives one."""
    spec: Mapping[str, Any] = {
        "name": ROUTE,
        "labels": ["delivery", "refund"],
        "system_prompt": SYSTEM,
        "detailed_prompt": "Sort the mail. Choose one of: {labels}.",
        **({} if durability == "strict" else {"durability": durability}),
    }
    calibration = CalibrationFitted(
        tenant=TENANT,
        route=ROUTE,
        calibration_id=uuid7(),
        adapter_id=None,
        slope=1.0,
        intercept=0.0,
        threshold=0.5,
        n=200,
        errors=4,
        brier=0.02,
        alpha=0.1,
        certified=True,
        coverage=1.0,
    )
    headers = {"authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers=headers, timeout=READY_SECONDS) as client:
        deadline = time.monotonic() + READY_SECONDS
        client.post("/v1/routes", json=spec).raise_for_status()
        asyncio.run(broker.publish(servers, calibration, "evaluator"))
        while time.monotonic() < deadline:
            sent = client.post("/v1/chat/completions", content=body(stream=False))
            if sent.headers.get("x-ratchet-outcome") == "confident":
                return
            time.sleep(0.2)
    raise TimeoutError(f"the route gave no trusted answer: {sent.status_code} {sent.text[:300]}")


def body(*, stream: bool) -> bytes:
    content = "My parcel has not moved since Monday, and nobody answers the telephone."
    asked = {"model": ROUTE, "messages": [{"role": "user", "content": content}]}
    return json.dumps(asked | ({"stream": True} if stream else {})).encode()


def install_litellm() -> None:
    if not (LITELLM / "bin" / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", str(LITELLM)], check=True)
        pip = [str(LITELLM / "bin" / "pip"), "install", "--quiet"]
        subprocess.run([*pip, f"litellm[proxy]=={LITELLM_VERSION}"], check=True)

"""Arize Phoenix's OTLP ingestion into its SQLite, from an environment of its own in the cache: it
pins what we pin otherwise.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.capture import load, payloads
from benchmarks.capture.figures import Figures
from benchmarks.capture.plan import Plan
from benchmarks.capture.processes import SERVER_CORE, Pinned
from infra.local.ports import free_port
from infra.setup.machine import check_disk
from infra.setup.places import cache_dir
from infra.setup.report import timed
from infra.setup.venvs import make_venv, pip, works
from infra.setup.work import once, stamp_says, write_stamp

RELEASE = "20.26.1"
NEEDS_MB = 1200  # 853 MB when done
PATIENCE_SECONDS = 600.0
POLL_SECONDS = 0.1


def venv() -> Path:
    return cache_dir() / f"phoenix-{RELEASE}"


def install() -> None:
    once("phoenix", venv(), lambda: works(venv()) and stamp_says(venv(), RELEASE), make)


def make() -> None:
    check_disk(cache_dir(), NEEDS_MB)
    with timed("phoenix", f"making an environment for Arize Phoenix {RELEASE}"):
        make_venv("phoenix", venv())
        pip("phoenix", venv(), f"arize-phoenix=={RELEASE}")
        write_stamp(venv(), RELEASE)


async def measure(plan: Plan, folder: Path) -> Figures:
    figures = Figures(
        f"Arize Phoenix {RELEASE}", "OTLP spans into SQLite; answers before it has stored"
    )
    with serving(folder) as (server, port):
        await load.closed_loop(port, requests(2 * plan.batch, plan.batch), plan.connections)
        await stored(folder, 2 * plan.batch)
        await batches(figures, server, port, folder, plan)
        figures.latency(
            await load.open_loop(port, requests(plan.singles, 1), plan.rate, plan.connections * 4)
        )
        figures.memory_mb = server.memory_mb()
    return figures


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Pinned, int]]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_SQL_DATABASE_URL": f"sqlite:///{folder}/phoenix.db",
    }
    with Pinned(
        "phoenix",
        [str(venv() / "bin" / "python"), "-m", "phoenix.server.main", "serve"],
        folder,
        SERVER_CORE,
        environment,
    ) as server:
        server.wait_for_port(port)
        yield server, port


def requests(count: int, batch: int) -> list[bytes]:
    bodies = payloads.phoenix_bodies(count, batch, time.time_ns())
    return [
        load.http("/v1/traces", body, {"Content-Type": "application/x-protobuf"}) for body in bodies
    ]


async def batches(figures: Figures, server: Pinned, port: int, folder: Path, plan: Plan) -> None:
    prepared = requests(plan.phoenix_inferences, plan.batch)
    there = rows(folder)
    cpu = server.cpu_seconds()
    began = time.perf_counter()
    outcome = await load.closed_loop(port, prepared, plan.connections)
    await stored(folder, there + plan.phoenix_inferences)
    figures.rates(
        plan.phoenix_inferences, outcome, time.perf_counter() - began, server.cpu_seconds() - cpu
    )


async def stored(folder: Path, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while rows(folder) < count:
            await asyncio.sleep(POLL_SECONDS)


def rows(folder: Path) -> int:
    with closing(
        sqlite3.connect(f"file:{folder}/phoenix.db?mode=ro", uri=True, timeout=30)
    ) as connection:
        return connection.execute("select count(*) from spans").fetchone()[0]

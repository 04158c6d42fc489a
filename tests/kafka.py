"""A Kafka for tests: the embedded one, and a real Apache Kafka where one is found. Both come with
every topic provisioned.
"""

from __future__ import annotations

import importlib.util
import os
import random
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from infra.kafka import (
    JavaMissing,
    Kafka,
    at_home,
    format_command,
    installed,
    is_formatted,
    write_properties,
)
from infra.kafka.node import CLEANER_BUFFER
from infra.topics import BrokerAway, ProvisioningFailed, provision

START_SECONDS = 60
LOWEST_PORT = 12000


def free_port() -> int:
    """Below the ports that outgoing connections are given: one of those would take it while what
    listens here is down.
    """
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.randrange(LOWEST_PORT, ephemeral())))
            except OSError:
                continue
            return probe.getsockname()[1]


def ephemeral() -> int:
    known = Path("/proc/sys/net/ipv4/ip_local_port_range")
    return int(known.read_text().split()[0]) if known.exists() else 32768


def kafka_home() -> Path | None:
    """Where an unpacked Kafka is: KAFKA_HOME, or ../shared/kafka."""
    beside = Path(__file__).parents[2] / "shared" / "kafka"
    home = Path(os.environ["KAFKA_HOME"]) if "KAFKA_HOME" in os.environ else beside
    return home if (home / "libs").is_dir() else None


def apache() -> Kafka | None:
    """The Kafka to test on: an unpacked one, else what `ratchet kafka install` installed."""
    home = kafka_home()
    return at_home(home, os.environ) if home else installed()


def apache_missing() -> str | None:
    """Why Apache Kafka cannot be tested against here, or None."""
    try:
        if apache() is None:
            return "no Apache Kafka: run 'ratchet kafka install', or set KAFKA_HOME"
    except JavaMissing as error:
        return str(error)
    return None


class Broker(ABC):
    """Starts on `with`; `stop` and `start` interrupt it; it never outlives the `with`."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    @abstractmethod
    def command(self) -> list[str]: ...

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        self.prepare()
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                provision(self.servers)
                return
            except (BrokerAway, ProvisioningFailed):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class EmbeddedBroker(Broker):
    """noida-db: in memory, so what it held is gone after a `stop`."""

    def command(self) -> list[str]:
        spec = importlib.util.find_spec("noida_db")
        binary = Path(spec.origin).with_name("noida-db")
        binary.chmod(binary.stat().st_mode | 0o111)
        return [
            str(binary),
            "start",
            "--only",
            "kafka",
            "--kafka-port",
            str(self.port),
            "--data-dir",
            str(self.folder / "data"),
        ]


class ApacheKafka(Broker):
    """One node, broker and controller in one."""

    def __init__(self, folder: Path, port: int | None = None, kafka: Kafka | None = None) -> None:
        super().__init__(folder, port)
        self.kafka = kafka or apache()

    def prepare(self) -> None:
        super().prepare()
        # the port stays as long as its folder does: clients come back to it
        if not is_formatted(self.folder):
            properties = write_properties(self.folder, self.port, free_port())
            subprocess.run(format_command(self.kafka, properties), check=True, capture_output=True)

    def command(self) -> list[str]:
        return self.kafka.command("kafka.Kafka", str(self.folder / "server.properties"))


class ThreeNodes:
    """Apache Kafka as it runs in production: three nodes, each event on three of them before it
    counts when two have it.
    """

    REPLICATION = 3

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port() for _ in range(3)]
        self.controllers = [free_port() for _ in range(3)]
        self.servers = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.processes: dict[int, subprocess.Popen] = {}

    def start(self, node: int) -> None:
        with (self.folder / f"node-{node}.log").open("ab") as log:
            argv = apache().command("kafka.Kafka", str(self.properties(node)))
            self.processes[node] = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def kill(self, node: int) -> None:
        self.processes[node].kill()
        self.processes[node].wait()

    def properties(self, node: int) -> Path:
        path = self.folder / f"node-{node}.properties"
        if not path.exists():
            path.write_text(
                "".join(f"{name}={value}\n" for name, value in self._settings(node).items())
            )
            storage = ("format", "-t", "MkU3OEVCNTcwNTJENDM2Qg", "-c", str(path))
            subprocess.run(
                apache().command("kafka.tools.StorageTool", *storage),
                check=True,
                capture_output=True,
            )
        return path

    def _settings(self, node: int) -> dict[str, object]:
        replicated = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        return {
            "process.roles": "broker,controller",
            "node.id": node + 1,
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(
                f"{number + 1}@127.0.0.1:{port}" for number, port in enumerate(self.controllers)
            ),
            "listeners": (
                f"PLAINTEXT://127.0.0.1:{self.ports[node]},"
                f"CONTROLLER://127.0.0.1:{self.controllers[node]}"
            ),
            "log.dirs": self.folder / f"data-{node}",
            "log.cleaner.dedupe.buffer.size": CLEANER_BUFFER,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            "unclean.leader.election.enable": "false",
            "min.insync.replicas": 2,
            "default.replication.factor": self.REPLICATION,
            "transaction.state.log.min.isr": 2,
            "share.coordinator.state.topic.min.isr": 2,
        } | {
            f"{name}.{setting}": 3
            for name in replicated
            for setting in ("replication.factor", "num.partitions")
            if (name, setting) != ("share.coordinator.state.topic", "num.partitions")
        }

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for node in range(3):
            self.start(node)
        deadline = time.monotonic() + 2 * START_SECONDS
        while True:
            try:
                provision(self.servers, self.REPLICATION)
                return self
            except (BrokerAway, ProvisioningFailed):
                if time.monotonic() > deadline:
                    self.__exit__()
                    raise
                time.sleep(0.5)

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()


KINDS: dict[str, type[Broker]] = {"embedded": EmbeddedBroker, "apache": ApacheKafka}

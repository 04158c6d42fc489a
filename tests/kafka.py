"""A Kafka for tests: the embedded one, and a real Apache Kafka where one is found. Both come with every topic provisioned."""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import socket
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from infra.local.broker import one_node
from infra.topics import BrokerAway, ProvisioningFailed, provision

START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kafka_home() -> Path | None:
    beside = Path(__file__).parents[2] / "shared" / "kafka"
    home = Path(os.environ["KAFKA_HOME"]) if "KAFKA_HOME" in os.environ else beside
    return home if (home / "bin" / "kafka-server-start.sh").exists() else None


def apache_missing() -> str | None:
    """Why Apache Kafka cannot be tested against here, or None."""
    if kafka_home() is None:
        return "no Apache Kafka: set KAFKA_HOME to the folder of an unpacked one"
    return None if shutil.which("java") else "no Java: Apache Kafka needs Java 17 or later"


class Broker(ABC):
    """Starts on `with`; `stop` and `start` interrupt it; it never outlives the `with`."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    @abstractmethod
    def command(self) -> list[str]: ...

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
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
        return [str(binary), "start", "--only", "kafka", "--kafka-port", str(self.port), "--data-dir", str(self.folder / "data")]


class ApacheKafka(Broker):
    """One node, broker and controller in one."""

    def command(self) -> list[str]:
        home, properties = kafka_home(), self.folder / "server.properties"
        if not properties.exists():
            properties.write_text(one_node(self.folder / "data", self.port, free_port()))
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            subprocess.run([home / "bin/kafka-storage.sh", "format", "-t", cluster, "-c", properties], check=True, capture_output=True)
        # the script `exec`s java, so that our signals reach the broker itself
        return ["env", "KAFKA_HEAP_OPTS=-Xmx384m", f"LOG_DIR={self.folder / 'logs'}", str(home / "bin/kafka-server-start.sh"), str(properties)]

"""The event log on this machine: one that runs, a Kafka under KAFKA_HOME, or the embedded one."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from infra.local.home import Home
from infra.local.part import Part, port_is_open
from infra.local.ports import free_port
from infra.topics import BrokerAway, provision
from shared.errors import RatchetError

PATIENCE_SECONDS = 15
EMBEDDED_WARNING = (
    "the event log is the embedded one, which keeps events in memory and is not crash-safe: right"
    " for a laptop; set KAFKA_HOME to run an Apache Kafka, or KAFKA_BOOTSTRAP_SERVERS to use one"
    " that runs"
)


class KafkaUnusable(RatchetError):
    def __init__(self, home: str, reason: str) -> None:
        super().__init__(f"KAFKA_HOME={home} cannot be used: {reason}")


class EmbeddedMissing(RatchetError):
    def __init__(self) -> None:
        super().__init__(
            "the embedded event log (noida-db) is not installed: run 'make setup', or set"
            " KAFKA_HOME or KAFKA_BOOTSTRAP_SERVERS"
        )


def broker_part(home: Home, port: int, environment: Mapping[str, str]) -> Part:
    """Return the event log as a part, which is ready when it answers and has every topic."""
    if servers := environment.get("KAFKA_BOOTSTRAP_SERVERS"):
        return Part(
            "broker",
            (),
            servers,
            lambda: provisioned(servers, environment),
            prepare=lambda: wait_for_kafka(servers),
            stage=2,
        )
    if kafka := environment.get("KAFKA_HOME"):
        return apache(home, Path(kafka), port, environment)
    return embedded(home, port, environment)


def embedded(home: Home, port: int, environment: Mapping[str, str]) -> Part:
    spec = importlib.util.find_spec("noida_db")
    if spec is None or not spec.origin:
        raise EmbeddedMissing
    # Its Python wrapper would stay between us and the broker's signals.
    binary = Path(spec.origin).with_name("noida-db")
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    servers = f"127.0.0.1:{port}"
    argv = (
        str(binary),
        "start",
        "--only",
        "kafka",
        "--kafka-port",
        str(port),
        "--data-dir",
        str(home.path / "broker"),
    )
    return Part(
        "broker",
        argv,
        servers,
        lambda: provisioned(servers, environment),
        dict(environment),
        (port,),
        stage=2,
        chatty=True,
    )


def apache(home: Home, kafka: Path, port: int, environment: Mapping[str, str]) -> Part:
    for script in ("kafka-server-start.sh", "kafka-storage.sh"):
        if not (kafka / "bin" / script).exists():
            raise KafkaUnusable(
                str(kafka),
                f"there is no bin/{script} in it; name the folder of an unpacked Kafka 4",
            )
    java = (
        Path(environment["JAVA_HOME"], "bin/java")
        if environment.get("JAVA_HOME")
        else shutil.which("java")
    )
    if not java or not Path(java).exists():
        raise KafkaUnusable(
            str(kafka), "there is no java; install Java 17 or later, or set JAVA_HOME"
        )
    folder = home.path / "kafka"
    servers = f"127.0.0.1:{port}"
    env = {"KAFKA_HEAP_OPTS": "-Xmx512m -Xms256m", "LOG_DIR": str(home.logs / "kafka")} | dict(
        environment
    )
    argv = (str(kafka / "bin/kafka-server-start.sh"), str(folder / "server.properties"))
    return Part(
        "broker",
        argv,
        servers,
        lambda: provisioned(servers, environment),
        env,
        (port,),
        stage=2,
        stop_seconds=20,
        chatty=True,
        prepare=lambda: format_storage(kafka, folder, port, env),
    )


async def format_storage(kafka: Path, folder: Path, port: int, env: Mapping[str, str]) -> None:
    """Format one node that is broker and controller, once; its ports may change later."""
    properties = write_properties(folder, port)
    if is_formatted(folder):
        return
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    process = await asyncio.create_subprocess_exec(
        str(kafka / "bin/kafka-storage.sh"),
        "format",
        "-t",
        cluster,
        "-c",
        str(properties),
        env=dict(env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise KafkaUnusable(
            str(kafka),
            f"formatting its storage failed: {output.decode('utf-8', 'replace').strip()[-300:]}",
        )


def write_properties(folder: Path, port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.properties").write_text(one_node(folder / "data", port, free_port()))
    return folder / "server.properties"


def is_formatted(folder: Path) -> bool:
    return (folder / "data" / "meta.properties").exists()


def one_node(data: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "num.partitions": 3,
        "offsets.topic.num.partitions": 3,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 3,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "auto.create.topics.enable": "false",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


async def wait_for_kafka(servers: str) -> None:
    """Wait a little for a Kafka that somebody else runs; raise BrokerAway where none answers."""
    for _ in range(int(PATIENCE_SECONDS / 0.5)):
        if await any_answers(servers):
            return
        await asyncio.sleep(0.5)
    raise BrokerAway(servers, ConnectionRefusedError())


async def any_answers(servers: str) -> bool:
    addresses = [server.rpartition(":") for server in servers.split(",")]
    return any([await port_is_open(host, int(port)) for host, _, port in addresses])


async def provisioned(servers: str, environment: Mapping[str, str]) -> bool:
    if not await any_answers(servers):
        return False
    try:
        await asyncio.to_thread(
            provision, servers, int(environment.get("KAFKA_REPLICATION_FACTOR", "1"))
        )
    # The port opens before the controller has elected itself.
    except BrokerAway:
        return False
    return True

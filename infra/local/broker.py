"""The event log on this machine: one that runs, an Apache Kafka here, or the embedded one."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from infra.kafka import (
    Kafka,
    KafkaUnusable,
    at_home,
    format_command,
    installed,
    is_formatted,
    write_properties,
)
from infra.local.home import Home
from infra.local.part import Part, port_is_open
from infra.local.ports import free_port
from infra.setup.machine import why_it_does_not_start
from infra.topics import BrokerAway, provision
from shared.errors import RatchetError
from shared.event_log import EMBEDDED

PATIENCE_SECONDS = 15
EMBEDDED_WARNING = (
    "the event log is the embedded one, which keeps events in memory and forgets on a crash (they"
    " are sent again from the outboxes): run 'ratchet kafka install' once for a durable one"
)
# What to do where there is no log to start.
OTHER_LOGS = (
    "run 'ratchet kafka install', which needs GLIBC 2.17 only, or set KAFKA_BOOTSTRAP_SERVERS to a"
    " Kafka that runs"
)


class EmbeddedMissing(RatchetError):
    def __init__(self) -> None:
        super().__init__(
            f"the embedded event log (noida-db) is not installed: run 'make setup', or {OTHER_LOGS}"
        )


class EmbeddedUnusable(RatchetError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            "the embedded event log (noida-db) does not start on this machine (it needs GLIBC 2.34,"
            f" as Debian 12, Ubuntu 22.04 and RHEL 9 have): {reason}. Next: {OTHER_LOGS}"
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
            kind="external",
        )
    if kafka := environment.get("KAFKA_HOME"):
        return apache(home, at_home(Path(kafka), environment), port, environment)
    if found := installed():
        return apache(home, found, port, environment)
    return embedded(home, port, environment)


def embedded(home: Home, port: int, environment: Mapping[str, str]) -> Part:
    spec = importlib.util.find_spec("noida_db")
    if spec is None or not spec.origin:
        raise EmbeddedMissing
    # Its Python wrapper would stay between us and the broker's signals.
    binary = Path(spec.origin).with_name("noida-db")
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    if reason := why_it_does_not_start(binary):
        raise EmbeddedUnusable(reason)
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
        kind=EMBEDDED,
    )


def apache(home: Home, kafka: Kafka, port: int, environment: Mapping[str, str]) -> Part:
    if not kafka.java.exists():
        raise KafkaUnusable(
            str(kafka.home),
            f"its Java ({kafka.java}) is gone; remove that folder and run 'ratchet kafka install'",
        )
    folder = home.path / "kafka"
    servers = f"127.0.0.1:{port}"
    return Part(
        "broker",
        tuple(kafka.command("kafka.Kafka", str(folder / "server.properties"))),
        servers,
        lambda: provisioned(servers, environment),
        dict(environment),
        (port,),
        stage=2,
        stop_seconds=20,
        chatty=True,
        prepare=lambda: format_storage(kafka, folder, port, environment),
        kind=f"Apache Kafka {kafka.version} (one node)",
    )


async def format_storage(
    kafka: Kafka, folder: Path, port: int, environment: Mapping[str, str]
) -> None:
    """Format its storage once; its ports may change later."""
    properties = write_properties(folder, port, free_port())
    if is_formatted(folder):
        return
    process = await asyncio.create_subprocess_exec(
        *format_command(kafka, properties),
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise KafkaUnusable(
            str(kafka.home),
            f"formatting its storage failed: {output.decode('utf-8', 'replace').strip()[-300:]}",
        )


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

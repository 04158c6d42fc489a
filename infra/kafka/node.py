"""One node of Kafka that is broker and controller: its settings and its storage."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

from infra.kafka.places import Kafka

# Bytes. Of a heap of 192 MB Kafka's default of 128 MB leaves too little to start; this compacts
# 600,000 keys at a time.
CLEANER_BUFFER = 16 * 2**20
# After `kill -9` the node waits until its own old session has ended: with Kafka's 9 s it was back
# after 12 s, with this after 3.6 s. Its controller lives in the same process, so that nothing but a
# pause of the whole process can miss it.
SESSION_MS = 2000


def format_command(kafka: Kafka, properties: Path) -> list[str]:
    # one argument: 1 of 64 such ids begins with "-", and by itself would read as an option
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = "kafka.tools.StorageTool"
    return kafka.command(tool, "format", f"--cluster-id={cluster}", "-c", str(properties))


def write_properties(folder: Path, port: int, controller_port: int) -> Path:
    """Write the settings anew at each start: its ports may change, its storage stays."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = one_node(folder / "data", port, controller_port)
    path = folder / "server.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path


def is_formatted(folder: Path) -> bool:
    return (folder / "data" / "meta.properties").exists()


def one_node(data: Path, port: int, controller_port: int) -> dict[str, object]:
    return {
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
        "log.cleaner.dedupe.buffer.size": CLEANER_BUFFER,
        "broker.session.timeout.ms": SESSION_MS,
        "broker.heartbeat.interval.ms": SESSION_MS // 4,
    }

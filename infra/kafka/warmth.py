"""Makes a class-data archive: what a node loads, parsed once, so that it starts in half the CPU."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from infra.kafka.node import format_command, write_properties
from infra.kafka.places import Kafka
from infra.local.ports import free_port
from infra.topics import BrokerAway, ProvisioningFailed, provision

START_SECONDS = 60
DUMP_SECONDS = 120


def make_archive(kafka: Kafka, say: Callable[[str], None]) -> None:
    """Run a node for a moment, and archive the classes that it loaded.

    A Kafka without the archive is whole and starts as any other, so that no failure here counts.
    """
    folder = kafka.home.with_suffix(".classes")
    shutil.rmtree(folder, ignore_errors=True)
    fresh = folder / "kafka.jsa"
    dump = (
        "-Xshare:dump",
        f"-XX:SharedClassListFile={folder / 'classes'}",
        f"-XX:SharedArchiveFile={fresh}",
    )
    try:
        record_classes(kafka, folder)
        command = kafka.command("kafka.Kafka", options=dump)
        subprocess.run(command, check=True, capture_output=True, timeout=DUMP_SECONDS)
        fresh.rename(kafka.home / "kafka.jsa")
    except (OSError, subprocess.SubprocessError, BrokerAway, ProvisioningFailed) as error:
        say(f"it starts without class data, more slowly ({type(error).__name__})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def record_classes(kafka: Kafka, folder: Path) -> None:
    """Start a node with our topics on it, so that what the first start needs is loaded."""
    port = free_port()
    properties = write_properties(folder, port, free_port())
    subprocess.run(format_command(kafka, properties), check=True, capture_output=True, timeout=60)
    listing = (f"-XX:DumpLoadedClassList={folder / 'classes'}",)
    with (folder / "log").open("w") as log:
        node = subprocess.Popen(
            kafka.command("kafka.Kafka", str(properties), options=listing),
            stdout=log,
            stderr=log,
        )
    try:
        until_provisioned(f"127.0.0.1:{port}")
        node.terminate()
        node.wait(30)
    finally:
        node.kill()
        node.wait()


def until_provisioned(servers: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            provision(servers)
            return
        except (BrokerAway, ProvisioningFailed):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)

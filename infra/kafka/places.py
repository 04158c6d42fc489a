"""Where an Apache Kafka is on this machine, and the command line that runs it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.kafka.jars import kafka_version, lock_list
from infra.kafka.java import java_for
from infra.setup.places import KAFKA_CONSTRAINTS, cache_dir
from shared.errors import RatchetError

LOGGING = Path(__file__).with_name("log4j2.xml")
# Measured on 2 cores (benchmarks/event_log): what Kafka brings along starts with 512 MB and all
# compilers.
HEAP = ("-Xms64m", "-Xmx192m")
LEAN = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")


class KafkaUnusable(RatchetError):
    def __init__(self, home: str, reason: str) -> None:
        super().__init__(f"the Kafka in {home} cannot be used: {reason}")


@dataclass(frozen=True)
class Kafka:
    """An Apache Kafka, the Java that runs it, and its class-data archive where it has one."""

    home: Path
    java: Path
    archive: Path | None = None

    @property
    def version(self) -> str:
        return next(
            jar.stem.removeprefix("kafka-clients-")
            for jar in self.jars
            if jar.name.startswith("kafka-clients-")
        )

    @property
    def jars(self) -> list[Path]:
        return sorted((self.home / "libs").glob("*.jar"))

    @property
    def class_path(self) -> str:
        """Name the jars in an order that stays: an archive is of use for the same list only."""
        return os.pathsep.join(str(jar) for jar in self.jars)

    def command(self, main: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return how to run a class, java first, so that signals reach the broker itself."""
        heap = tuple(os.environ.get("KAFKA_HEAP_OPTS", "").split()) or HEAP
        archive = (f"-XX:SharedArchiveFile={self.archive}",) if self.archive else ()
        logging = f"-Dlog4j2.configurationFile={LOGGING}"
        start = (str(self.java), *heap, *LEAN, *archive, *options, logging)
        return [*start, "-cp", self.class_path, main, *arguments]


def kafka_dir() -> Path:
    """Name the folder after all it depends on, so that a changed pin makes a new one."""
    made_from = hashlib.sha256(
        (lock_list() + KAFKA_CONSTRAINTS.read_text("utf-8")).encode()
    ).hexdigest()
    return cache_dir() / f"kafka-{kafka_version()}-{made_from[:12]}"


def installed() -> Kafka | None:
    """Return what `ratchet kafka install` installed; its folder has this name when it is whole."""
    folder = kafka_dir()
    if not folder.is_dir():
        return None
    archive = folder / "kafka.jsa"
    java = Path((folder / "java").read_text("utf-8"))
    return Kafka(folder, folder / java, archive if archive.exists() else None)


def at_home(home: Path, environment: Mapping[str, str]) -> Kafka:
    """Return the Kafka that somebody unpacked there; raise where there is none."""
    if not any((home / "libs").glob("kafka-clients-*.jar")):
        raise KafkaUnusable(
            str(home), "there is no libs/ with its jars; name the folder of an unpacked Kafka 4"
        )
    ours = installed()
    return Kafka(home, java_for(environment, ours.java if ours else None))

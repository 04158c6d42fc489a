"""`ratchet up` offers the durable event log where it is not installed: once a home, to a person."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import typer
from rich.console import Console

from infra.cli.console import download_bar
from infra.kafka import SIZE_WORDS, install, installed
from infra.local.broker import EMBEDDED_WARNING
from infra.local.home import Home
from shared.errors import RatchetError


def would_be_embedded(environment: Mapping[str, str]) -> bool:
    named = environment.get("KAFKA_BOOTSTRAP_SERVERS") or environment.get("KAFKA_HOME")
    return not named and installed() is None


def offer_kafka(folder: Path, environment: Mapping[str, str], console: Console) -> None:
    """Say that the log is the embedded one, and install the durable one where a person says yes."""
    home = Home(folder)
    if not would_be_embedded(environment) or home.is_running():
        return
    asked = home.path / "kafka-offered"
    if is_somebody_there(environment) and not asked.exists():
        home.path.mkdir(parents=True, exist_ok=True)
        asked.touch()
        question = f"Install Apache Kafka, a durable event log, now? ({SIZE_WORDS}, once)"
        if typer.confirm(question, default=True):
            install_here(console)
    if would_be_embedded(environment):
        console.print(f"note: {EMBEDDED_WARNING}", style="yellow", soft_wrap=True)


def install_here(console: Console) -> None:
    """Install from Apache's own site; where that fails the embedded log serves all the same."""
    try:
        with download_bar() as progress:
            install(None, typer.echo, progress)
    except RatchetError as error:
        console.print(f"✗ {error}", style="red", soft_wrap=True)


def is_somebody_there(environment: Mapping[str, str]) -> bool:
    """Say whether a person can answer: a terminal at both ends, and no CI."""
    in_ci = environment.get("CI", "").lower() not in ("", "0", "false")
    return sys.stdin.isatty() and sys.stdout.isatty() and not in_ci

"""Which event log runs, whether it can start here, and when it should be replaced."""

from __future__ import annotations

import importlib.machinery
from pathlib import Path

import pytest

from infra.cli import inspection
from infra.cli.report import print_status
from infra.kafka import KafkaUnusable
from infra.local import broker
from infra.local.broker import EmbeddedUnusable, apache, broker_part
from infra.local.home import Home
from infra.setup.machine import why_it_does_not_start
from shared.event_log import EMBEDDED, MOST_EMBEDDED, too_full
from tests.kafka import apache as apache_here
from tests.kafka import apache_missing


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))


def kind(tmp_path: Path, **environment: str) -> str:
    return broker_part(Home(tmp_path), 9092, environment).kind


def test_each_log_has_a_name(tmp_path: Path) -> None:
    assert kind(tmp_path) == EMBEDDED
    assert kind(tmp_path, KAFKA_BOOTSTRAP_SERVERS="kafka:9092") == "external"
    if reason := apache_missing():
        pytest.skip(reason)
    named = kind(tmp_path, KAFKA_HOME=str(apache_here().home))
    assert named.startswith("Apache Kafka 4.")
    assert named.endswith("(one node)")


def program(folder: Path, text: str) -> Path:
    path = folder / "noida-db"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


OLD_GLIBC = 'echo "noida-db: version \\`GLIBC_2.34\' not found (required by noida-db)" >&2; exit 1'


def test_a_binary_that_cannot_start_here_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program(tmp_path, OLD_GLIBC).with_name("__init__.py")
    spec = importlib.machinery.ModuleSpec("noida_db", None, origin=str(found))
    monkeypatch.setattr(broker.importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(EmbeddedUnusable, match=r"GLIBC_2\.34.*Next: run 'ratchet kafka install'"):
        broker_part(Home(tmp_path), 9092, {})
    # a warning on the way is no reason
    program(tmp_path, "echo 'weak version not found' >&2; echo noida-db 0.2.3")
    assert kind(tmp_path) == EMBEDDED


def test_a_program_of_another_machine_does_not_start(tmp_path: Path) -> None:
    path = program(tmp_path, "")
    path.write_bytes(b"\x7fELF nonsense")
    assert why_it_does_not_start(path)
    assert why_it_does_not_start(tmp_path / "absent")


def test_a_kafka_whose_java_went_is_said_so(tmp_path: Path) -> None:
    if reason := apache_missing():
        pytest.skip(reason)
    gone = type(apache_here())(apache_here().home, tmp_path / "java")
    with pytest.raises(KafkaUnusable, match="is gone"):
        apache(Home(tmp_path), gone, 9092, {})


def test_past_its_size_the_embedded_log_should_be_replaced() -> None:
    assert too_full(MOST_EMBEDDED) is None
    assert "ratchet kafka install" in (too_full(MOST_EMBEDDED + 1) or "")


@pytest.mark.parametrize(("log", "advised"), [(EMBEDDED, True), ("Apache Kafka 4.3.1", False)])
def test_status_says_which_log_runs_and_when_it_is_too_full(
    log: str, advised: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inspection, "describe", lambda _: [{"events": 90_000}] * 2)
    status = {
        "home": "/home",
        "pid": 1,
        "started": 0,
        "event_log": log,
        "advice": inspection.log_advice(log, "kafka:9092"),
        "parts": [],
        "routes": [],
        "lag": {},
        "problems": [],
    }
    print_status(status, as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert f"event log: {log}" in said
    assert ("180,000" in said) == advised

"""`ratchet up` offers the durable log to a person, once, and fetches nothing by itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from infra.cli import offer
from infra.kafka.download import DownloadFailed


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))


class Terminal:
    """A person at a terminal who gives one answer, and an installation that notes its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
        self.questions: list[str] = []
        self.installed = 0
        self.trouble: Exception | None = None
        self.answer = answer
        monkeypatch.setattr(offer.sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(offer.sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(offer.typer, "confirm", self.confirm)
        monkeypatch.setattr(offer, "install", self.install)

    def confirm(self, question: str, default: bool) -> bool:
        self.questions.append(question)
        return self.answer

    def install(self, *_: object) -> None:
        self.installed += 1
        if self.trouble:
            raise self.trouble


def offered(home: Path, **environment: str) -> str:
    console = Console(file=io.StringIO(), width=500)
    offer.offer_kafka(home, environment, console)
    return console.file.getvalue()


def test_a_person_is_asked_once_with_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch, answer=False)
    said = offered(tmp_path / "home")
    assert len(terminal.questions) == 1
    assert "130 MB" in terminal.questions[0]
    assert "ratchet kafka install" in said
    assert "ratchet kafka install" in offered(tmp_path / "home")
    assert (len(terminal.questions), terminal.installed) == (1, 0)


def test_yes_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, answer=True)
    offered(tmp_path / "home")
    assert terminal.installed == 1


def test_an_installation_that_fails_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch, answer=True)
    terminal.trouble = DownloadFailed("https://x", "no network", 0)
    said = offered(tmp_path / "home")
    assert "no network" in said
    assert "embedded" in said


@pytest.mark.parametrize("where", ["ci", "no terminal", "a Kafka runs", "a Kafka is named"])
def test_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    terminal = Terminal(monkeypatch, answer=True)
    if where == "no terminal":
        monkeypatch.setattr(offer.sys.stdin, "isatty", lambda: False, raising=False)
    environment = {
        "ci": {"CI": "true"},
        "a Kafka runs": {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"},
        "a Kafka is named": {"KAFKA_HOME": "/opt/kafka"},
    }.get(where, {})
    said = offered(tmp_path / "home", **environment)
    assert (terminal.questions, terminal.installed) == ([], 0)
    assert ("embedded" in said) == (where in ("ci", "no terminal"))

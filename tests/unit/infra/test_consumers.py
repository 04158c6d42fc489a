"""Paused consumers: listed with their reason, and let go on by an operator."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData, insert
from typer.testing import CliRunner, Result

from infra.cli.inspection import paused
from infra.cli.main import app
from infra.cli.report import parts_table
from infra.operations.books import open_books
from infra.operations.pauses import NothingPaused, paused_consumers, resume
from shared.events.brake import Brake, ConsumerPaused
from shared.events.tables import event_tables
from shared.storage.db import Database

SINCE = datetime(2026, 11, 25, 3, tzinfo=UTC)
REASON = "our own code failed on the last 10 events"
PAUSED = {"inference-recorded": None, "feedback-recorded": None, "route-changed": SINCE}


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """Review with two paused consumers and one that goes on again; trainer without any."""
    for service, topics in (("review", PAUSED), ("trainer", {})):
        metadata = MetaData()
        tables = event_tables(metadata)
        db = Database(url_of(tmp_path, service))
        await db.create_tables(metadata)
        async with db.transaction() as tx:
            for topic, resumed_at in topics.items():
                row = {
                    "topic": topic,
                    "paused_at": SINCE,
                    "because": REASON,
                    "version": "0.1.0",
                    "resumed_at": resumed_at,
                }
                await tx.execute(insert(tables.pauses).values(row))
        await db.close()
    return tmp_path


def url_of(folder: Path, service: str) -> str:
    return f"sqlite+aiosqlite:///{folder}/{service}.db"


async def cli(home: Path, *arguments: str) -> Result:
    """Run a command in a thread: it has an event loop of its own."""
    environment = {"RATCHET_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"}
    return await asyncio.to_thread(
        CliRunner().invoke, app, ["consumers", *arguments], env=environment
    )


async def test_paused_consumers_are_listed_with_their_reason(home: Path) -> None:
    listed = await cli(home, "list")
    assert listed.exit_code == 0
    assert "inference-recorded" in listed.stdout and REASON in listed.stdout
    assert "route-changed" not in listed.stdout
    found = json.loads((await cli(home, "list", "--json")).stdout)
    assert {one["topic"] for one in found} == {"inference-recorded", "feedback-recorded"}
    assert found[0] | {"topic": ""} == {
        "service": "review",
        "topic": "",
        "since": SINCE.isoformat(),
        "because": REASON,
        "version": "0.1.0",
    }


async def test_one_is_resumed_and_then_the_others(home: Path) -> None:
    one = await cli(home, "resume", "review", "inference-recorded")
    assert (one.exit_code, one.stdout.count("goes on reading")) == (0, 1)
    again = await cli(home, "resume", "review", "inference-recorded")
    assert (again.exit_code, "inference-recorded of review is not paused" in again.stderr) == (
        1,
        True,
    )
    rest = await cli(home, "resume", "review")
    assert (rest.exit_code, "feedback-recorded" in rest.stdout) == (0, True)
    none = await cli(home, "resume", "review")
    assert (none.exit_code, "no consumer of review is paused" in none.stderr) == (1, True)
    assert (await cli(home, "list")).stdout == "no consumer is paused\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("revue",), "there is no service 'revue'"), (("review", "x"), "no event travels on 'x'")],
)
async def test_what_is_not_there_is_refused(
    home: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused = await cli(home, "resume", *arguments)
    assert (refused.exit_code, words in refused.stderr) == (1, True)


async def test_a_consumer_hears_that_it_was_resumed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.events.brake.VERSION", "0.1.0")
    db = Database(url_of(home, "review"))
    topic = "inference-recorded"
    with pytest.raises(ConsumerPaused):
        await Brake(db, event_tables(MetaData()), topic).check()
    async with open_books({"review": url_of(home, "review")}) as books:
        await resume(books, "review", topic)
        assert {pause.topic for pause in await paused_consumers(books)} == {"feedback-recorded"}
        with pytest.raises(NothingPaused):
            await resume(books, "trainer")
    await Brake(db, event_tables(MetaData()), topic).check()
    await db.close()


def test_status_shows_a_paused_consumer_beside_its_part() -> None:
    part = {
        "name": "review",
        "state": "ready",
        "since": 0.0,
        "pid": 1,
        "ours": True,
        "restarts": 0,
        "url": "http://127.0.0.1:8102",
        "health": {"paused": {"route-changed": REASON}},
    }
    assert paused(part) == {"route-changed": REASON}
    (cell,) = list(parts_table({"parts": [part], "lag": {}}).columns[1].cells)
    assert "paused: route-changed" in cell

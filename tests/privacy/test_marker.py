"""An address in every string that an API or an app's own topic takes: it is in no table, event,
file, log or answer, and no tool of the operator shows it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from infra.cli.main import app
from tests.faults.world import World
from tests.kafka import Broker
from tests.privacy.doors import MARKER, map_topics, marked, said_on_topics, said_over_http
from tests.rollouts.cast import Part, Role, question
from tests.rollouts.stages import running
from tests.rollouts.story import FOR_A_DATASET, Story

NewWorld = Callable[..., World]

ROUTE = "acme/route"
# Bytes that capture could not read, and the key they came under, are kept as they came: a person
# looks at them, and replays or drops them.
AS_IT_CAME = {
    ("dead_letters", "key"),
    ("dead_letters", "body"),
    ("outbox", "payload"),
    ("outbox", "aggregateid"),
    ("outbox", "headers"),
}


def files_that_hold(folder: Path, marker: str) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and marker.encode() in path.read_bytes():
            yield str(path.relative_to(folder))


def columns_that_hold(file: Path, marker: str) -> Iterator[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as db:
        tables = db.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in db.execute(f"pragma table_info('{table}')").fetchall():
                holds = f"select 1 from {table} where instr({column}, cast(? as blob)) > 0"
                if db.execute(f"{holds} or instr({column}, ?) > 0", (marker, marker)).fetchone():
                    yield table, column


def shown(story: Story, inference_id: str) -> dict[str, Result]:
    """Have the operator's tools print what was said; return it by command."""
    world = story.world
    letters = [
        letter
        for (letter,) in sqlite3.connect(world.folder / "capture.db").execute(
            "select event_id from dead_letters"
        )
    ]
    commands = [
        *(["trace", inference_id], ["lineage", inference_id], ["reconcile"]),
        *(["dlq", "list"], ["consumers", "list"], ["dlq", "parked", "list"]),
        *(["dlq", "show", letter] for letter in letters),
        ["capture", "map", world.own_settings["capture"]["sources"]],
        *(["jobs", "list"], ["redact", "--dry-run"]),
    ]
    plain = [("routes", "show", ROUTE), ("datasets", "ready", ROUTE)]
    where = {
        "RATCHET_HOME": str(world.folder),
        "RATCHET_DATABASE_URL": "",
        "KAFKA_BOOTSTRAP_SERVERS": world.servers,
        "RATCHET_API_KEY": world.client.headers["authorization"].removeprefix("Bearer "),
        "RATCHET_URL": world.urls["router"],
        "NO_COLOR": "1",
        "COLUMNS": "300",
    } | {
        f"RATCHET_{service.replace('-', '_').upper()}_URL": url
        for service, url in world.urls.items()
    }
    asked = plain + [(*command, *more) for command in commands for more in ((), ("--json",))]
    return {" ".join(each): CliRunner().invoke(app, each, env=where) for each in asked}


@pytest.mark.timeout(300)
async def test_the_marker_is_nowhere(embedded: Broker, new_world: NewWorld, tmp_path: Path) -> None:
    world = new_world(embedded.servers)
    world.own_settings["capture"] = {"sources": str(map_topics(tmp_path / "sources.yaml", ROUTE))}
    roles = {"route": (Role(Part(), Part()),)}
    async with running(world, roles) as stages:
        story = stages.story("route")
        await story.begin(task="conversation", labels=[], max_tokens=64)
        said = await said_over_http(story)
        await asyncio.sleep(3)
        assert not [answer.text for answer in said if MARKER in answer.text]
        assert not list(files_that_hold(world.folder, MARKER))
        assert list(files_that_hold(world.folder, "[EMAIL]")), "what stands in its place is found"
        inference_id = said[0].json()["ratchet"]["inference_id"]
        await said_on_topics(story, inference_id)
        await asyncio.sleep(3)
        shows = await asyncio.to_thread(shown, story, inference_id)
    capture = world.folder / "capture.db"
    assert set(columns_that_hold(capture, MARKER)) <= AS_IT_CAME
    held = {name.partition(".db")[0] for name in files_that_hold(world.folder, MARKER)}
    assert held == {"capture"}, "as it came, what could not be read"
    assert not [command for command, said in shows.items() if MARKER in said.output]
    assert [command for command, said in shows.items() if "[EMAIL]" in said.output]
    # It cannot be taken, which a sample says with an exit code.
    failed = {command for command, said in shows.items() if said.exit_code}
    assert {command.partition(" /")[0] for command in failed} <= {"capture map"}


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_it_is_in_no_dataset(
    embedded: Broker, new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of questions that hold it a dataset is made, an adapter is trained and evaluated; what a
    report shows of it is tried in tests/unit/evaluator/test_reports.py.
    """
    monkeypatch.setattr("tests.rollouts.story.question", lambda number: marked(question(number)))
    world = new_world(embedded.servers)
    roles = {"route": (Role(Part(), Part()),)}
    async with running(world, roles) as stages:
        story = stages.story("route")
        await story.begin()
        await story.ask(FOR_A_DATASET)
        await story.trained("the first version")
    tables = [
        pq.read_table(path).to_pydict() for path in world.folder.rglob("artifacts/**/*.parquet")
    ]
    assert "[EMAIL]" in str(tables)
    assert MARKER not in str(tables)
    assert not list(files_that_hold(world.folder, MARKER))

"""`ratchet db`: where each database is, up, and down again with a warning of what is lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import MetaData, text
from typer.testing import CliRunner

from infra.cli.main import app
from infra.local.home import Home
from infra.migrations import migrations_of
from schemas.topics import SERVICES
from shared.events.relay import lease_table
from shared.storage.db import Database, insert_once

RUNNER = CliRunner()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """The trainer's database, and what tells the command where it is."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/trainer.db", {"RATCHET_HOME": str(tmp_path)}
    url = request.getfixturevalue("postgres_server").new_database("_trainer")
    return url, {
        "RATCHET_HOME": str(tmp_path),
        "RATCHET_DATABASE_URL": url.removesuffix("_trainer"),
    }


def ratchet(where: dict[str, str], *arguments: str, answer: str = ""):
    return RUNNER.invoke(
        app,
        ["db", *arguments],
        env={"NO_COLOR": "1", "COLUMNS": "200", "RATCHET_DATABASE_URL": ""} | where,
        input=answer,
    )


def change(url: str, *statements: str) -> None:
    async def run() -> None:
        db = Database(url)
        async with db.transaction() as tx:
            for statement in statements:
                await tx.execute(text(statement))
        await db.close()

    asyncio.run(run())


def states(where: dict[str, str]) -> dict[str, str]:
    return {
        one["service"]: one["state"]
        for one in json.loads(ratchet(where, "status", "--json").stdout)
    }


def test_up_and_down_again(place: tuple[str, dict[str, str]]) -> None:
    url, where = place
    up = ratchet(where, "upgrade", "trainer") if "postgres" in url else start_once(url, where)
    assert up.exit_code == 0, up.output
    head = migrations_of("trainer").head
    assert states(where)["trainer"] == "current"
    down = ratchet(where, "downgrade", "trainer", "0001", answer="y\n")
    assert down.exit_code == 0, down.output
    assert "trainer goes down to 0001 and loses" in down.output
    assert f"{head}: " in down.output
    assert states(where)["trainer"] == "behind"
    assert ratchet(where, "status").exit_code == 1
    assert ratchet(where, "upgrade", "trainer", "--to", "0002").exit_code == 0
    assert ratchet(where, "upgrade", "trainer").exit_code == 0
    assert states(where)["trainer"] == "current"
    assert ratchet(where, "downgrade", "trainer", "base", "--yes").exit_code == 0
    assert states(where)["trainer"] == "empty"


def start_once(url: str, where: dict[str, str]):
    asyncio.run(migrations_of("trainer").upgrade(Database(url)))
    return ratchet(where, "status")


def test_a_no_keeps_everything(place: tuple[str, dict[str, str]]) -> None:
    url, where = place
    asyncio.run(migrations_of("trainer").upgrade(Database(url)))
    assert ratchet(where, "downgrade", "trainer", "base", answer="n\n").exit_code == 1
    assert states(where)["trainer"] == "current"


def test_tables_of_the_first_release_are_told_from_nothing(
    place: tuple[str, dict[str, str]],
) -> None:
    url, where = place
    asyncio.run(migrations_of("trainer").move(Database(url), "0001"))
    change(url, "drop table alembic_version")
    assert states(where)["trainer"] == "before migrations"
    assert ratchet(where, "upgrade", "trainer").exit_code == 0
    assert states(where)["trainer"] == "current"


def test_looking_makes_no_files(tmp_path: Path) -> None:
    where = {"RATCHET_HOME": str(tmp_path)}
    assert states(where) == dict.fromkeys(SERVICES, "not there")
    assert ratchet(where, "status").exit_code == 0
    assert ratchet(where, "upgrade").exit_code == 0
    assert not list(tmp_path.glob("*.db"))


def test_a_service_that_runs_is_not_taken_back(
    place: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    url, where = place

    async def lease() -> None:
        db = Database(url)
        await migrations_of("trainer").upgrade(db)
        async with db.transaction() as tx:
            await insert_once(
                tx,
                lease_table(MetaData()),
                {"name": "relay", "owner": "replica-1", "lease_until": 1e11},
            )
        await db.close()

    asyncio.run(lease())
    refused = ratchet(where, "downgrade", "trainer", "0001", "--yes")
    assert (refused.exit_code, "trainer runs (replica-1): stop it first" in refused.stderr) == (
        1,
        True,
    ), refused.output
    change(url, "update relay_lease set lease_until = 1")
    with Home(tmp_path).lock():
        refused = ratchet(where, "downgrade", "trainer", "0001", "--yes")
        assert (refused.exit_code, "'ratchet up' in" in refused.stderr) == (1, True), refused.output
    assert ratchet(where, "downgrade", "trainer", "0001", "--yes").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("downgrade", "trainer", "0009", "--yes"), "this code knows no revision '0009'"),
        (
            ("downgrade", "trainer", "0002", "--yes"),
            "the trainer database is at 0002, and 0002 is not below it",
        ),
        (
            ("upgrade", "trainer", "--to", "0001"),
            "the trainer database is at 0002, and 0001 is not above it",
        ),
        (("upgrade", "trainer", "--to", "0009"), "this code knows no revision '0009'"),
        (
            ("downgrade", "capture", "0001", "--yes"),
            "the capture database is at base, and 0001 is not below it",
        ),
        (("upgrade", "trainr"), "there is no service 'trainr': choose from capture"),
    ],
)
def test_expected_trouble_is_one_sentence(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    asyncio.run(
        migrations_of("trainer").move(
            Database(f"sqlite+aiosqlite:///{tmp_path}/trainer.db"), "0002"
        )
    )
    result = ratchet({"RATCHET_HOME": str(tmp_path)}, *arguments)
    assert (result.exit_code, words in result.stderr) == (1, True), result.output


def test_a_database_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    where = {
        "RATCHET_HOME": str(tmp_path),
        # pragma: allowlist nextline secret
        "RATCHET_DATABASE_URL": "postgresql+asyncpg://ratchet:secret@127.0.0.1:1",
    }
    assert set(states(where).values()) == {"away"}
    shown = ratchet(where, "status")
    assert (shown.exit_code, "secret" in shown.output) == (1, False)

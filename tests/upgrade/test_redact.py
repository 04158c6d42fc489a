"""`ratchet redact` over a home of release 0.1.0: what its rules missed is in no database after it,
also where it is killed half-way, and the services go on with what is left.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from infra.cli.redact import PLACE
from tests import factories
from tests.faults.drain import drain
from tests.faults.forking import Zygote
from tests.faults.world import World
from tests.kafka import EmbeddedBroker

# As they stand in JSON. The rules of 0.1.0 (commit 4443978, shared/redaction.py) leave all three.
PHONE = "+1 (415) 555‑2671"
WIDE = "０６ １２ ３４ ５６ ７８"
KEY = "gsk_9hT2kLmN4pQrS6tUvW8xYz01AbCdEfGh"
MARKS = [mark.encode() for mark in (PHONE, WIDE, KEY)]
LEAK = f"call {PHONE} or {WIDE}, key {KEY}. "
# (service, table, column), and whether the column is compressed.
PLANTED = {
    ("capture", "outbox", "payload"): False,
    ("router", "outbox", "payload"): False,
    ("router", "decisions", "event"): False,
    ("review", "outbox", "payload"): False,
    ("review", "items", "asked"): True,
    ("dataset-builder", "verdicts", "messages"): False,
}
WHOLE = ("review", "items", "suggestion"), ("dataset-builder", "feedback", "text")


def connected(home: Path, service: str) -> Any:
    return closing(sqlite3.connect(home / f"{service}.db"))


def plant(home: Path) -> None:
    """Put the values into every conversation, and into what users said of answers."""
    for (service, table, column), is_packed in PLANTED.items():
        with connected(home, service) as db, db:
            found = f"select rowid, {column} from {table} where {column} is not null"
            for row, value in db.execute(found).fetchall():
                text = zlib.decompress(value) if is_packed else value
                text = text if isinstance(text, bytes) else text.encode()
                leaky = text.replace(b'"content":"', b'"content":"' + LEAK.encode())
                kept = zlib.compress(leaky, 6) if is_packed else leaky
                kept = kept.decode() if isinstance(value, str) else kept
                db.execute(f"update {table} set {column} = ? where rowid = ?", (kept, row))
    for service, table, column in WHOLE:
        with connected(home, service) as db, db:
            db.execute(f"update {table} set {column} = ? || coalesce({column}, '')", (LEAK,))


def values_of(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every text and blob of a database, unpacked, with its column; and the bytes of the
    file and of its log.
    """
    with closing(sqlite3.connect(file)) as db:
        for (table,) in db.execute("select name from sqlite_master where type = 'table'"):
            rows = db.execute(f'select * from "{table}"')
            names = [f"{file.stem}.{table}.{each[0]}" for each in rows.description]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    if isinstance(value, str | bytes):
                        yield name, unpacked(value)
    for path in file.parent.glob(f"{file.name}*"):
        yield path.name, path.read_bytes()


def unpacked(value: str | bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return zlib.decompress(value) if value.startswith(b"\x78\x9c") else value


def places_of_marks(home: Path) -> set[str]:
    return {
        name
        for file in sorted(home.glob("*.db"))
        for name, value in values_of(file)
        if any(mark in value for mark in MARKS)
    }


def command(home: Path, *arguments: str) -> list[str]:
    asked = ["redact", "--home", str(home), "--artifacts", "file://home/artifacts", "--json"]
    return [sys.executable, "-m", "infra.cli.main", *asked, *arguments]


def ratchet(home: Path, *arguments: str) -> dict[str, Any]:
    said = subprocess.run(
        command(home, *arguments), cwd=home.parent, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def kill_half_way(home: Path) -> None:
    """Start it, and kill it as soon as it has noted that it is in the third database."""
    with subprocess.Popen(
        command(home), cwd=home.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        place = home / PLACE
        ends = time.monotonic() + 60
        while not (place.exists() and "router.decisions" in place.read_text()):
            assert time.monotonic() < ends, "it never came so far"
            assert running.poll() is None, "it was done before it was killed"
            time.sleep(0.001)
        os.kill(running.pid, signal.SIGKILL)


def counted(outcome: dict[str, Any], service: str, table: str) -> dict[str, int]:
    rows = outcome["columns"]
    mine = (row for row in rows if (row["service"], row["table"]) == (service, table))
    return {row["kind"]: row["finds"] for row in mine}


@pytest.mark.faults
async def test_what_older_rules_missed_is_gone(home: Path) -> None:
    folder = home / "home"
    plant(folder)
    upgrade = [sys.executable, "-m", "infra.cli.main", "db", "upgrade", "--home", str(folder)]
    subprocess.run(upgrade, cwd=home, check=True, stdout=subprocess.DEVNULL)
    planted = places_of_marks(folder)
    assert {".".join(place) for place in (*PLANTED, *WHOLE)} <= planted

    would = ratchet(folder, "--dry-run")
    assert counted(would, "dataset-builder", "verdicts") == {"PHONE": 306, "SECRET": 153}
    assert places_of_marks(folder) == planted, "a dry run changes nothing"
    kill_half_way(folder)
    assert places_of_marks(folder) < planted, "it was killed before it changed anything"
    went_on = ratchet(folder)
    assert went_on["resumed"]
    assert not places_of_marks(folder)
    assert not (folder / PLACE).exists()
    again = ratchet(folder)
    assert (again["columns"], again["rows_changed"], again["resumed"]) == ([], {}, False)
    await goes_on(home)


async def goes_on(home: Path) -> None:
    """Start the services: what waited in the outboxes is taken, and answers and items are shown."""
    broker = EmbeddedBroker(home / "broker")
    with broker, Zygote(home / "zygote.log") as zygote:
        async with World(home / "home", broker.servers, zygote) as world:
            for settings in world.own_settings.values():
                settings["artifacts_url"] = "file://home/artifacts"
            await world.start_all()
            assert not await drain(world)
            claimed = await world.call("review", "/v1/queue/next", {"route": factories.ROUTE})
            assert "[PHONE]" in claimed.text
            await asyncio.sleep(1)
    assert not places_of_marks(home / "home")

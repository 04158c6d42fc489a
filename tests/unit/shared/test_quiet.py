"""What a user wrote never reaches a log, a table, a topic or an answer by way of an error."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.exc import IntegrityError

from schemas.events import DatasetBuilt
from shared import telemetry
from shared.child import ChildDied, run_child
from shared.describing import describe
from shared.events.outbox import Outbox
from shared.http import create_api
from shared.jobs.store import JobStore
from shared.jobs.worker import Job, is_out_of_room, work_once
from shared.settings import ServiceSettings
from shared.storage.db import Database
from tests import factories
from tests.unit.shared.test_brake import Consumption

# Put together, so that the line of source that a traceback shows does not hold it.
MARKER = "my IBAN is " + "DE44 5001 0517 5407 3249 31"


class Model(BaseModel):
    number: int
    tags: dict[str, int] = {}


def wrong_value() -> None:
    Model.model_validate({"number": MARKER})


def wrong_key() -> None:
    Model.model_validate({"number": 1, "tags": {MARKER: "x"}})


def key_error() -> None:
    dict[str, int]()[MARKER]


def with_a_cause() -> None:
    try:
        key_error()
    except KeyError as error:
        raise RuntimeError(MARKER) from error


def while_handling() -> None:
    try:
        key_error()
    except KeyError:
        raise ValueError(MARKER)  # noqa: B904


def a_group() -> None:
    raise ExceptionGroup(MARKER, [ValueError(MARKER)])


def with_a_note() -> None:
    error = ValueError(MARKER)
    error.add_note(MARKER)
    raise error


def a_file() -> None:
    Path(f"/{MARKER}").read_text()


def no_unicode() -> None:
    MARKER.encode().decode("utf-16", "strict").encode("ascii")


FAULTS = [
    wrong_value,
    wrong_key,
    key_error,
    with_a_cause,
    while_handling,
    a_group,
    with_a_note,
    a_file,
    no_unicode,
]


@pytest.fixture(params=["console", "json"])
def logs(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], str]]:
    """Log as a service does; return what was written so far."""
    written = io.StringIO()
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    telemetry.configure_logging("INFO", request.param)
    yield written.getvalue
    root.handlers = handlers
    logging.captureWarnings(False)
    structlog.reset_defaults()


def assert_silent(text: str, expects: str) -> None:
    assert "IBAN" not in text and "DE44" not in text, text
    assert expects in text


def caught(fault: Callable[[], None]) -> Exception:
    try:
        fault()
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError("it should have failed")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_description_says_what_and_where(fault: Callable[[], None]) -> None:
    said = describe(caught(fault))
    assert "IBAN" not in said and "DE44" not in said and said


def test_a_description_helps() -> None:
    assert describe(caught(wrong_value)).startswith("number: Input should be a valid integer")
    assert describe(caught(wrong_key)).startswith("tags.?: Input")
    assert "KeyError at tests.unit.shared.test_quiet:" in describe(caught(key_error))
    assert describe(caught(a_file)) == "FileNotFoundError: No such file or directory"


async def test_an_error_of_the_database_says_neither_the_row_nor_the_statement(
    db: Database,
) -> None:
    metadata = MetaData()
    table = Table("words", metadata, Column("id", String, primary_key=True), Column("n", Integer))
    await db.create_tables(metadata)
    for row in ({"id": MARKER, "n": 1}, {"id": MARKER, "n": 2}):
        try:
            async with db.transaction() as tx:
                await tx.execute(insert(table).values(row))
        except IntegrityError as error:
            refused = error
    assert_silent(describe(refused) + telemetry.quiet_traceback(refused), "IntegrityError")
    # The control: what Postgres itself says of it.
    assert db.is_sqlite or MARKER in str(refused.__cause__.__cause__)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_handler_that_fails_leaves_no_text_behind(
    db: Database, logs: Callable[[], str], fault: Callable[[], None]
) -> None:
    consumption = Consumption(db)
    await db.create_tables(consumption.outbox.tables.inbox.metadata)

    async def fails(tx: Any, event: DatasetBuilt) -> None:
        fault()

    consumption.consumer.handler = fails
    await consumption.read(factories.dataset().model_dump_json().encode())
    letters = consumption.outbox.tables.dead_letters
    async with db.read() as connection:
        [letter] = (await connection.execute(select(letters.c.error, letters.c.headers))).all()
        rows = (await connection.execute(select(consumption.outbox.table.c.headers))).all()
    assert_silent(letter.error + letter.headers + "".join(map(str, rows)), "")
    assert_silent(logs(), "dead-lettered")


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_job_that_fails_leaves_no_text_behind(
    db: Database, logs: Callable[[], str], fault: Callable[[], None]
) -> None:
    metadata = MetaData()
    store = JobStore(db, metadata)
    outbox = Outbox("trainer", metadata)
    await db.create_tables(metadata)
    async with db.transaction() as tx:
        await store.add(tx, "train", "one", {"route": "acme/support"})
    told: list[str] = []

    async def ended(tx: Any, job: Job, reason: str, retry: bool) -> None:
        told.append(reason)

    async def fails(job: Job) -> None:
        fault()

    while await work_once(store, "train", fails, ended):
        pass
    [job] = await store.all()
    history = json.dumps(await store.history(job.job_id))
    assert job.state == "failed" and outbox.service == "trainer"
    assert_silent("".join([job.error or "", history, *told]), "")
    assert_silent(logs(), "attempt failed")


CHILD = """
import sys
from shared.child import confess
marker = {marker!r}
print(marker, file=sys.stderr)
try:
    dict()[marker]
except KeyError as error:
    confess(error)
    raise
"""


async def test_what_a_child_says_stays_in_a_file_for_the_operator(
    tmp_path: Path, logs: Callable[[], str]
) -> None:
    kept = tmp_path / "stderr" / "job.log"

    async def hear(message: dict[str, Any]) -> None: ...

    with pytest.raises(ChildDied) as died:
        code = CHILD.format(marker=MARKER)
        await run_child([sys.executable, "-c", code], hear, keep_stderr=kept)
    telemetry.log("test").error("it died", error=describe(died.value), exc_info=died.value)
    assert_silent(str(died.value) + repr(died.value) + logs(), "KeyError")
    assert str(kept) in str(died.value)
    assert MARKER in kept.read_text() and stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_a_child_that_writes_without_end_or_line_holds_up_nobody() -> None:
    async def hear(message: dict[str, Any]) -> None: ...

    code = "import sys; sys.stderr.write('x' * 50_000_000); sys.exit(3)"
    with pytest.raises(ChildDied) as died:
        await asyncio.wait_for(run_child([sys.executable, "-c", code], hear), 30)
    assert died.value.code == 3 and len(died.value.last_words) == 256 * 1024


def test_a_full_disk_is_still_known_from_what_a_child_wrote() -> None:
    died = ChildDied(1, "OSError: [Errno 28] No space left on device: 'x'")
    assert is_out_of_room(died) and "space" not in str(died)


async def test_an_endpoint_that_fails_says_nothing(tmp_path: Path, logs: Callable[[], str]) -> None:
    router = APIRouter()
    for fault in FAULTS:
        router.get(f"/{fault.__name__}")(fault)
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": []}')
    settings = ServiceSettings(database_url="sqlite+aiosqlite://", keys_file=keys)

    async def ready() -> dict[str, Any]:
        return {}

    api = create_api("review", settings, [router], ready, lambda: None, None)
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        for fault in FAULTS:
            answer = await client.get(f"/{fault.__name__}")
            assert answer.status_code == 500
            assert_silent(answer.text, "InternalError")
    assert_silent(logs(), "unexpected")


async def test_what_libraries_log_of_an_error_is_cut(logs: Callable[[], str]) -> None:
    async def fails() -> None:
        key_error()

    task = asyncio.create_task(fails())
    await asyncio.wait({task})
    del task
    gc.collect()  # "Task exception was never retrieved", with its repr
    asyncio.get_running_loop().call_soon(lambda *_: key_error(), MARKER)
    await asyncio.sleep(0.05)
    thread = threading.Thread(target=key_error)
    thread.start()
    thread.join()
    # As `logging.captureWarnings` writes it.
    logging.getLogger("py.warnings").warning("%s", f"a.py:3: UserWarning: {MARKER}\n  source\n")
    text = logs()
    assert_silent(text, "Task exception was never retrieved")
    assert "Exception in callback" in text and "UserWarning" in text


def test_a_service_that_cannot_start_prints_no_setting() -> None:
    """The control is pydantic's own message, which prints all settings it was given."""
    env = os.environ | {"DATABASE_URL": f"postgresql://u:{MARKER}@db/x", "PORT": MARKER}
    ran = subprocess.run(
        [sys.executable, "-m", "services.trainer"], env=env, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert_silent(ran.stderr, "PORT: Input should be a valid integer")

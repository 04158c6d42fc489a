"""`ratchet redact`: every table is gone over or says why not, on both kinds of database."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from infra.cli.main import app
from infra.migrations import metadata_of, migrations_of
from infra.operations.redaction import Contents, Found, Place, stale_datasets
from infra.operations.redaction.batches import look, read, write
from infra.operations.redaction.columns import OTHERS, TEXTS, untouched
from infra.operations.redaction.walks import Cleaner
from schemas.base import Attempt, BlobRef, JsonObject, Message
from schemas.events import InferenceRecorded
from schemas.topics import SERVICES
from shared.rules import read_content, store_content
from tests import factories
from tests.stored import Home

PHONE = "+1 (415) 555‑2671"
ASKED = f"call {PHONE}"
REDACTED = "call [PHONE]"
TURNS = json.dumps([{"role": "user", "content": ASKED}], ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_is_gone_over_or_says_why_not(service: str, tmp_path: Path) -> None:
    made = (await metadata_of(service, tmp_path)).tables
    named = {texts.table: texts for texts in TEXTS[service]}
    assert made.keys() <= named.keys() | untouched(service).keys()
    assert named.keys() | OTHERS[service].keys() <= made.keys()
    assert not named.keys() & untouched(service).keys()
    for texts in named.values():
        assert texts.columns.keys() <= set(made[texts.table].columns.keys())
        if texts.promised:
            assert texts.promised[1] in made[texts.promised[0]].columns


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/one.db"
    new: str = request.getfixturevalue("postgres_server").new_database()
    return new


def verdict(number: int, messages: str = TURNS) -> JsonObject:
    return {"review_id": f"review-{number:04}", "messages": messages, "answer": ASKED}


async def test_orders_and_verdicts_of_both_databases(home: Home, url: str) -> None:
    await home.add("dataset-builder", url)
    order = {"route": factories.ROUTE, "build": 1, "because": f"asked for by x: {ASKED}"}
    await home.insert("dataset-builder", "jobs", job_id="1", payload=order)
    for number in range(450):
        await home.insert("dataset-builder", "verdicts", **verdict(number))
    found, _ = await home.redact(dry_run=True)
    assert found.finds["dataset-builder", "verdicts", "messages", "PHONE"] == 450
    place = home.folder / "redact.json"
    done, _ = await home.redact()
    assert done == found
    assert await home.column("dataset-builder", "jobs", "payload") == order | {
        "because": f"asked for by x: {REDACTED}"
    }
    verdicts = home.tables["dataset-builder"].tables["verdicts"]
    async with home.dbs["dataset-builder"].read() as connection:
        stored = set(await connection.execute(select(verdicts.c.messages, verdicts.c.answer)))
    assert stored == {(TURNS.replace(ASKED, REDACTED), REDACTED)}
    place.unlink()
    assert (await home.redact())[0] == Found()


async def test_a_run_goes_on_behind_its_place(home: Home, url: str) -> None:
    await home.add("dataset-builder", url)
    for number in range(3):
        await home.insert("dataset-builder", "verdicts", **verdict(number))
    place = Place(home.folder / "redact.json", home.urls.values())
    place.note("dataset-builder.verdicts", ["review-0001"], [])
    found, _ = await home.redact()
    assert found.rows["dataset-builder", "verdicts", "messages"] == 1
    (home.folder / "redact.json").write_text(
        place.kept.model_copy(update={"of": "x"}).model_dump_json()
    )
    found, _ = await home.redact()
    assert found.rows["dataset-builder", "verdicts", "messages"] == 2, "a place of other rules"


async def test_a_row_that_changes_meanwhile_is_read_again(home: Home, url: str) -> None:
    await home.add("dataset-builder", url)
    await home.insert("dataset-builder", "verdicts", **verdict(1))
    [texts] = [each for each in TEXTS["dataset-builder"] if each.table == "verdicts"]
    db, table = home.dbs["dataset-builder"], home.tables["dataset-builder"].tables["verdicts"]
    batch = look(
        await read(db, table, texts, None, 10),
        texts,
        Cleaner(Contents(home.artifacts, write=True)),
    )
    async with db.transaction() as tx:
        await tx.execute(update(table).values(answer="said meanwhile"))
    assert not await write(db, table, texts, batch.changes)
    assert await home.column("dataset-builder", "verdicts", "answer") == "said meanwhile"


async def test_an_answer_that_changed_is_not_given_again(home: Home, url: str) -> None:
    await home.add("router", url)
    event = InferenceRecorded(
        **factories.COMMON,
        inference_id="one",
        messages=(Message(role="user", content="hello"),),
        answer=ASKED,
        arm="base",
        model="4155552671",
        attempts=(Attempt(arm="base", model="base", answer=ASKED, latency_ms=1.5),),
        metadata={"phone": "4155552671"},
    )
    await home.insert("router", "decisions", inference_id="one", event=event.model_dump_json())
    await home.insert("router", "repeats", key="a", inference_id="one", is_whole=True)
    await home.redact()
    kept = InferenceRecorded.model_validate_json(await home.column("router", "decisions", "event"))
    assert (kept.answer, kept.attempts[0].answer) == (REDACTED, REDACTED)
    assert (kept.metadata, kept.model) == ({"phone": "[PHONE]"}, "4155552671")
    assert await home.column("router", "repeats", "is_whole") is False


async def test_large_contents_get_another_place(home: Home, url: str) -> None:
    await home.add("dataset-builder", url)
    ref = store_content(home.blobs, (Message(role="user", content=ASKED),), ASKED)
    await home.insert("dataset-builder", "verdicts", **verdict(1, ref.model_dump_json()))
    _, contents = await home.redact()
    moved = BlobRef.model_validate_json(
        await home.column("dataset-builder", "verdicts", "messages")
    )
    content = await read_content(home.blobs, moved)
    assert (content.messages[0].content, content.answer) == (REDACTED, REDACTED)
    assert list(contents.moved) == [ref.uri]
    contents.delete(contents.moved)
    assert not Path(ref.uri.removeprefix("file://")).exists()


async def test_what_cannot_be_read_is_left_and_counted(home: Home, url: str) -> None:
    await home.add("dataset-builder", url)
    body = b"no JSON, +1 (415) 555-2671"
    await home.insert("dataset-builder", "dead_letters", body=body, body_is_kept=True)
    await home.insert("dataset-builder", "verdicts", **verdict(1, '[{"content": "no role"}, 7]'))
    found, _ = await home.redact()
    assert found.unreadable == Counter(
        {
            ("dataset-builder", "dead_letters", "body"): 1,
            ("dataset-builder", "verdicts", "messages"): 1,
        }
    )
    assert await home.column("dataset-builder", "dead_letters", "body") == body


async def test_datasets_with_finds_are_named_and_left(home: Home) -> None:
    built = await home.add_dataset({"messages": [TURNS] * 3, "answer": ["x"] * 3})
    trained = factories.trained(dataset_id=built.dataset_id)
    await home.insert("trainer", "adapters", event=trained.model_dump_json())
    contents = Contents(home.artifacts, write=True)
    [stale] = await stale_datasets(home.urls, Cleaner(contents), lambda *_: None)
    assert (stale.dataset_id, stale.finds, stale.missing) == (built.dataset_id, {"PHONE": 3}, [])
    assert stale.adapters == [trained.adapter.adapter_id]


def said(home: Path, *arguments: str) -> str:
    where = {"RATCHET_HOME": str(home), "RATCHET_DATABASE_URL": "", "ARTIFACTS_URL": ""}
    done = CliRunner().invoke(app, ["redact", *arguments], env=where | {"NO_COLOR": "1"})
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_the_command_says_what_it_did(home: Home, tmp_path: Path) -> None:
    await home.add("dataset-builder", f"sqlite+aiosqlite:///{tmp_path}/dataset-builder.db")
    await migrations_of("dataset-builder").upgrade(home.dbs["dataset-builder"])
    await home.insert("dataset-builder", "feedback", text=ASKED)

    def in_turn() -> list[str]:
        return [said(tmp_path, "--dry-run"), said(tmp_path), said(tmp_path)]

    would, did, again = await asyncio.to_thread(in_turn)
    assert re.search(r"dataset-builder +feedback +text +PHONE +1\b", would)
    assert "values that would be changed: 1 (1 rows" in would
    assert "values changed: 1 (1 rows" in did
    assert again.startswith("nothing to redact (1 rows")
    assert await home.column("dataset-builder", "feedback", "text") == REDACTED

"""Verdicts on content that was too large for an event: their turns are read when the dataset is
built.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schemas.base import JsonObject, Message
from schemas.events import DatasetBuilt, ReviewCompleted
from services.dataset_builder import worker
from services.dataset_builder.turns import Opened
from shared.rules.content import INLINE_BYTES, fits_in_event, store_content
from tests.unit.dataset_builder.corpus import messages
from tests.unit.dataset_builder.rig import Rig, known_route, verdict, verdicts


@pytest.fixture
async def rig(database_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(database_url, tmp_path).start()
    yield rig
    await rig.db.close()


def large_turns(number: int) -> tuple[Message, ...]:
    """A message that quotes a long log, unlike every other's."""
    text, _ = messages()[number]
    quoted = " ".join(f"line{number}x{line}" for line in range(INLINE_BYTES // 8))
    return (
        Message(role="system", content="the app's own prompt"),
        Message(role="user", content=f"{text} {quoted}"),
    )


def large_verdict(rig: Rig, number: int, **changes) -> ReviewCompleted:
    """As review says it: a reference, and no messages."""
    turns = large_turns(number)
    assert not fits_in_event(turns, "refund")
    content = store_content(rig.blobs, turns, "refund")
    return verdict(number, messages=(), model_answer="", content=content, **changes)


async def built(rig: Rig) -> tuple[DatasetBuilt, JsonObject]:
    job = await rig.work()
    assert job is not None
    [event] = await rig.announced()
    return event, await rig.manifest(event.dataset_id)


def rows(rig: Rig, event: DatasetBuilt, split: str) -> dict[str, str]:
    """The turns of each row by review id."""
    folder = rig.blobs.get_folder(event.blob, rig.folder / "copy")
    table = pq.read_table(folder / f"{split}.parquet")
    return dict(zip(*table.select(["review_id", "messages"]).to_pydict().values(), strict=True))


def trained_on(rig: Rig, event: DatasetBuilt) -> dict[str, str]:
    return {
        review_id: turns
        for split in ("train", "validation", "test")
        for review_id, turns in rows(rig, event, split).items()
    }


async def test_large_verdicts_are_trained_and_evaluated_on(rig: Rig) -> None:
    await rig.hear(
        known_route(),
        large_verdict(rig, 0, audit=True),
        large_verdict(rig, 1),
        *verdicts(2, 31),
    )
    event, manifest = await built(rig)
    audit = rows(rig, event, "audit")
    training = trained_on(rig, event)
    for number, found in ((0, audit), (1, training)):
        _, user = large_turns(number)
        turns = json.loads(found[f"review-{number:05}"])
        assert [turn["role"] for turn in turns] == ["user"]
        assert turns[0]["content"].split() == user.content.split()
    assert manifest["counts"]["audit"] == event.rows.audit == len(audit) == 1
    assert sum(manifest["counts"].values()) == len(audit) + len(training)
    assert "empty" not in manifest["dropped"]


async def test_without_opening_them_they_would_be_missing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: what was done before."""

    async def left_closed(_, unopened) -> Opened:
        return Opened([one.row for one in unopened], Counter())

    monkeypatch.setattr(worker, "open_rows", left_closed)
    await rig.hear(
        known_route(),
        large_verdict(rig, 0, audit=True),
        large_verdict(rig, 1),
        *verdicts(2, 31),
    )
    event, manifest = await built(rig)
    assert rows(rig, event, "audit") == {}
    assert "review-00001" not in trained_on(rig, event)
    assert manifest["dropped"]["empty"] == 2


async def test_a_row_whose_content_is_missing_or_changed_is_refused_alone(rig: Rig) -> None:
    missing = large_verdict(rig, 0, audit=True)
    changed = large_verdict(rig, 1)
    await rig.hear(known_route(), missing, changed, large_verdict(rig, 2), *verdicts(3, 31))
    stored = Path(missing.content.uri.removeprefix("file://"))
    stored.unlink()
    Path(changed.content.uri.removeprefix("file://")).write_text("{}")
    event, manifest = await built(rig)
    assert manifest["dropped"]["content_missing"] == 1
    assert manifest["dropped"]["content_corrupt"] == 1
    training = trained_on(rig, event)
    assert "review-00002" in training and "review-00001" not in training
    assert rows(rig, event, "audit") == {}
    dropped = sum(manifest["dropped"].values())
    assert sum(manifest["counts"].values()) + dropped == 31


async def test_while_the_artifact_store_does_not_answer_the_build_is_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_) -> bytes:
        raise ConnectionError("the artifact store is away")

    await rig.hear(known_route(), large_verdict(rig, 0), *verdicts(1, 30))
    with monkeypatch.context() as patch:
        patch.setattr(rig.blobs, "get_bytes", away)
        await rig.work()
    [job] = await rig.jobs.all()
    assert job.state == "queued" and "ConnectionError" in job.error
    event, manifest = await built(rig)
    assert "review-00000" in trained_on(rig, event)
    assert "content_missing" not in manifest["dropped"]


async def test_a_rejected_large_verdict_is_counted_and_not_opened(rig: Rig) -> None:
    rejected = large_verdict(rig, 0, verdict="rejected", answer=None)
    Path(rejected.content.uri.removeprefix("file://")).unlink()
    await rig.hear(known_route(), rejected, *verdicts(1, 31))
    _, manifest = await built(rig)
    assert manifest["dropped"]["rejected"] == 1 and "content_missing" not in manifest["dropped"]

"""Datasets that hold what the rules of today would redact.

They are not changed: a dataset is named by its digest, which adapters name, and what an adapter has
learned from a row no change of that row takes back. The next dataset of the route is made of
verdicts that were redacted, so it is said what is to be replaced.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import column, select, table

from infra.operations.redaction import walks
from infra.operations.redaction.run import Progress, opened
from infra.operations.redaction.walks import Cleaner, Unreadable, Walk
from infra.schema_moves import is_there
from schemas.base import BlobRef, JsonObject
from shared.storage import BlobCorrupt, BlobMissing, BlobStore

COLUMNS: Mapping[str, Walk] = {
    "messages": walks.turns,
    "answer": walks.answer,
    "model_answer": walks.answer,
    "slices": walks.record,
}


@dataclass(frozen=True)
class Stale:
    """A dataset that holds finds, by kind, with the adapters that were trained on it and the
    reports that show rows of it; `missing` files could not be read.
    """

    dataset_id: str
    route: str
    uri: str
    finds: Mapping[str, int]
    missing: Sequence[str]
    adapters: Sequence[str]
    reports: Sequence[str]


async def stale_datasets(
    urls: Mapping[str, str], cleaner: Cleaner, progress: Progress
) -> list[Stale]:
    """Return the datasets with finds, or with files that cannot be read, the oldest first."""
    trained = await events_of(urls["trainer"], "adapters")
    evaluated = await events_of(urls["evaluator"], "evaluations")
    found = []
    for built, manifest in await datasets_of(urls["dataset-builder"]):
        progress("datasets", 1)
        cleaner.of(built["route"])
        finds, missing = finds_in(built, manifest, cleaner)
        if not finds and not missing:
            continue
        mine = built["dataset_id"]
        found.append(
            Stale(
                mine,
                built["route"],
                built["blob"]["uri"],
                finds,
                missing,
                [one["adapter"]["adapter_id"] for one in trained if one["dataset_id"] == mine],
                [
                    one["report"]["uri"]
                    for one in evaluated
                    if one["dataset_id"] == mine and one.get("report")
                ],
            )
        )
    return found


async def events_of(url: str, name: str) -> list[JsonObject]:
    return [json.loads(event) for (event,) in await rows_of(url, name, "event")]


async def datasets_of(url: str) -> list[tuple[JsonObject, JsonObject]]:
    """Return the event and the manifest of each dataset, the oldest first."""
    rows = await rows_of(url, "datasets", "event", "manifest", "built_us")
    ordered = sorted(rows, key=lambda row: row[2])
    return [(json.loads(event), json.loads(manifest)) for event, manifest, _ in ordered]


async def rows_of(url: str, name: str, *columns: str) -> Sequence[Any]:
    """Return these columns of all rows; nothing where the service never stored anything."""
    if not is_there(url):
        return []
    async with opened(url) as db, db.read() as connection:
        named = table(name, *(column(each) for each in columns))
        return (await connection.execute(select(named))).all()


def finds_in(
    built: JsonObject, manifest: JsonObject, cleaner: Cleaner
) -> tuple[Counter[str], list[str]]:
    """Count what the files of a dataset hold by kind; return those that cannot be read as well."""
    finds, missing = Counter[str](), list[str]()
    for name, file in manifest["files"].items():
        if not name.endswith(".parquet"):
            continue
        ref = BlobRef(uri=f"{built['blob']['uri']}/{name}", sha256=file["sha256"])
        try:
            finds += finds_in_file(cleaner.contents.blobs, ref, cleaner)
        except (BlobMissing, BlobCorrupt, Unreadable):
            missing.append(name)
    return finds, missing


def finds_in_file(blobs: BlobStore, ref: BlobRef, cleaner: Cleaner) -> Counter[str]:
    file = pq.ParquetFile(io.BytesIO(blobs.get_bytes(ref)))
    finds = Counter[str]()
    there = [name for name in COLUMNS if name in file.schema_arrow.names]
    for name in there:
        for value in file.read(columns=[name])[name].to_pylist():
            cleaner.finds.clear()
            if value and COLUMNS[name](value, cleaner) != value:
                finds.update(cleaner.finds)
    return finds

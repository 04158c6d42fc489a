"""A dataset as files: one Parquet per split, the card, and manifest.json written last. The same
rows give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.base import BlobRef, JsonObject
from services.dataset_builder import manifest as describe
from services.dataset_builder.assemble import Assembled
from services.dataset_builder.rows import Candidate, Lost
from shared.storage import BlobStore, file_digest

COLUMNS = pa.schema(
    [
        ("row_id", pa.string()),
        ("inference_id", pa.string()),
        ("review_id", pa.string()),
        ("reviewer", pa.string()),
        ("reviewed_at", pa.timestamp("us", tz="UTC")),
        ("label_source", pa.string()),
        ("messages", pa.string()),
        ("answer", pa.string()),
        ("cluster", pa.int64()),
        ("verdicts", pa.int64()),
        ("stratum", pa.string()),
        ("model_answer", pa.string()),
        ("arm", pa.string()),
        ("adapter_id", pa.string()),
        ("probability", pa.float64()),
        ("coin", pa.float64()),
        ("reason", pa.string()),
        ("slices", pa.string()),
    ]
)
LOST = pa.schema(
    [
        ("review_id", pa.string()),
        ("inference_id", pa.string()),
        ("reviewer", pa.string()),
        ("reviewed_at", pa.timestamp("us", tz="UTC")),
        ("reason", pa.string()),
        ("twin", pa.string()),
        ("messages", pa.string()),
        ("answer", pa.string()),
    ]
)
OF_ROW = (
    "inference_id",
    "review_id",
    "reviewer",
    "label_source",
    "model_answer",
    "arm",
    "adapter_id",
    "probability",
    "coin",
    "reason",
    "slices",
)


def write_folder(folder: Path, dataset: Assembled) -> JsonObject:
    """Write the files; return the manifest, which names each file's bytes and SHA-256."""
    for name, candidates in dataset.parts.items():
        (folder / f"{name}.parquet").write_bytes(_as_file(as_table(candidates)))
    (folder / describe.LOST_FILE).write_bytes(lost_bytes(dataset.lost))
    (folder / "README.md").write_text(describe.card(dataset.facts), encoding="utf-8")
    files = {
        path.name: {"sha256": file_digest(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    manifest = dataset.facts | {"files": files}
    (folder / "manifest.json").write_text(describe.as_json(manifest), encoding="utf-8")
    return manifest


def lost_bytes(lost: Sequence[Lost]) -> bytes:
    """Return the file of the verdicts that are not trained on, each with the reason."""
    ordered = sorted(lost, key=lambda one: one.row.order)
    columns: dict[str, list[object]] = {
        "reviewed_at": [one.row.reviewed_us for one in ordered],
        "reason": [one.reason for one in ordered],
        "twin": [one.twin for one in ordered],
    }
    for name in ("review_id", "inference_id", "reviewer", "messages", "answer"):
        columns[name] = [getattr(one.row, name) for one in ordered]
    return _as_file(_table(columns, LOST))


def as_table(candidates: Sequence[Candidate]) -> pa.Table:
    columns: dict[str, list[object]] = {
        "row_id": [row_id(one.row.review_id) for one in candidates],
        "reviewed_at": [one.row.reviewed_us for one in candidates],
        "messages": [one.question.asked for one in candidates],
        "answer": [one.answer for one in candidates],
        "cluster": [one.cluster for one in candidates],
        "verdicts": [one.count for one in candidates],
        "stratum": [one.stratum for one in candidates],
    }
    for name in OF_ROW:
        columns[name] = [getattr(one.row, name) for one in candidates]
    return _table(columns, COLUMNS)


def _table(columns: Mapping[str, Sequence[object]], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _as_file(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd", version="2.6", write_statistics=True)
    return file.getvalue()


def row_id(review_id: str) -> str:
    """Return the row's id, which is the same in every version."""
    return hashlib.sha256(review_id.encode()).hexdigest()[:16]


def read_rows(
    blobs: BlobStore, folder: BlobRef, manifest: JsonObject, split: str, offset: int, limit: int
) -> list[JsonObject]:
    """Return a page of one split, the oldest verdict first; the file's digest is verified."""
    return _page(blobs, describe.file_of(folder, manifest, f"{split}.parquet"), offset, limit)


def read_trained(blobs: BlobStore, folder: BlobRef, manifest: JsonObject) -> Iterator[str]:
    """Yield the `messages` of the rows that a dataset trains and validates on."""
    for split in ("train", "validation"):
        file = blobs.get_bytes(describe.file_of(folder, manifest, f"{split}.parquet"))
        yield from pq.read_table(io.BytesIO(file), columns=["messages"])["messages"].to_pylist()


def read_lost(
    blobs: BlobStore, file: BlobRef, reason: str | None, offset: int, limit: int
) -> list[JsonObject]:
    """Return a page of the verdicts that are not trained on, the oldest first."""
    return _page(blobs, file, offset, limit, reason)


def _page(
    blobs: BlobStore, file: BlobRef, offset: int, limit: int, reason: str | None = None
) -> list[JsonObject]:
    rows = pq.read_table(io.BytesIO(blobs.get_bytes(file)))
    if reason is not None:
        rows = rows.filter(pc.field("reason") == reason)
    return [
        row | {"messages": json.loads(row["messages"]), "reviewed_at": _moment(row["reviewed_at"])}
        for row in rows.slice(offset, limit).to_pylist()
    ]


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()

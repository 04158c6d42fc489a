"""A dataset as files: one Parquet per split, the card, and manifest.json written last. The same
rows give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.base import BlobRef, JsonObject
from services.dataset_builder import manifest as describe
from services.dataset_builder.rows import Candidate
from services.dataset_builder.split import Splits
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
    ]
)


def write_folder(folder: Path, parts: Splits, facts: JsonObject) -> JsonObject:
    """Write the files; return the manifest, which names each file's bytes and SHA-256."""
    for name, candidates in parts.items():
        pq.write_table(
            as_table(candidates),
            folder / f"{name}.parquet",
            compression="zstd",
            version="2.6",
            write_statistics=True,
        )
    (folder / "README.md").write_text(describe.card(facts), encoding="utf-8")
    files = {
        path.name: {"sha256": file_digest(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    manifest = facts | {"files": files}
    (folder / "manifest.json").write_text(describe.as_json(manifest), encoding="utf-8")
    return manifest


def as_table(candidates: list[Candidate]) -> pa.Table:
    rows = [candidate.row for candidate in candidates]
    columns = {
        "row_id": [row_id(row.review_id) for row in rows],
        "reviewed_at": [row.reviewed_us for row in rows],
        "cluster": [candidate.cluster for candidate in candidates],
    } | {
        name: [getattr(row, name) for row in rows]
        for name in ("inference_id", "review_id", "reviewer", "label_source", "messages", "answer")
    }
    return pa.table(
        [pa.array(columns[field.name], field.type) for field in COLUMNS], schema=COLUMNS
    )


def row_id(review_id: str) -> str:
    """Return the row's id, which is the same in every version."""
    return hashlib.sha256(review_id.encode()).hexdigest()[:16]


def read_rows(
    blobs: BlobStore, folder: BlobRef, manifest: JsonObject, split: str, offset: int, limit: int
) -> list[JsonObject]:
    """Return a page of one split, the oldest verdict first; the file's digest is verified."""
    name = f"{split}.parquet"
    data = blobs.get_bytes(
        BlobRef(uri=f"{folder.uri}/{name}", sha256=manifest["files"][name]["sha256"])
    )
    page = pq.read_table(io.BytesIO(data)).slice(offset, limit).to_pylist()
    return [
        row | {"messages": json.loads(row["messages"]), "reviewed_at": _moment(row["reviewed_at"])}
        for row in page
    ]


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()

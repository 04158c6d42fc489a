"""Databases of services with rows of a test's own, for what goes over them from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import MetaData, Row, insert, select

from infra.migrations import metadata_of
from infra.operations.redaction import Contents, Found, Place, Run
from schemas.events import DatasetBuilt
from shared.clock import now
from shared.storage import BlobStore, file_digest
from shared.storage.db import Database
from tests import factories

# What stands in columns that may not be NULL and that a test does not name.
EMPTY = {str: "", int: 0, float: 0.0, bool: False, bytes: b"", object: {}, datetime: now()}


class Home:
    """Databases of some services with their own tables, and an artifacts store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.urls: dict[str, str] = {}
        self.dbs: dict[str, Database] = {}
        self.tables: dict[str, MetaData] = {}
        self.artifacts = f"file://{folder}/artifacts"
        self.blobs = BlobStore(self.artifacts)

    async def add(self, service: str, url: str) -> None:
        self.urls[service] = url
        db = self.dbs[service] = Database(url)
        self.tables[service] = await metadata_of(service, self.folder)
        await db.create_tables(self.tables[service])

    async def insert(self, service: str, table: str, **values: Any) -> None:
        """Insert a row; what is not named and may not be NULL is empty."""
        made = self.tables[service].tables[table]
        needed = {
            each.name: EMPTY[each.type.python_type]
            for each in made.columns
            if not each.nullable and each.name not in values and each.name != "seq"
        }
        async with self.dbs[service].transaction() as tx:
            await tx.execute(insert(made).values(**needed | values))

    async def column(self, service: str, table: str, column: str) -> Any:
        [(value,)] = await self.columns(service, table, column)
        return value

    async def columns(self, service: str, table: str, *columns: str) -> Sequence[Row[Any]]:
        made = self.tables[service].tables[table]
        async with self.dbs[service].read() as connection:
            return (await connection.execute(select(*(made.c[name] for name in columns)))).all()

    async def add_dataset(self, columns: Mapping[str, Sequence[str]]) -> DatasetBuilt:
        """Add a dataset of one file, and the services that datasets lead to."""
        for service in ("dataset-builder", "trainer", "evaluator"):
            await self.add(service, f"sqlite+aiosqlite:///{self.folder}/{service}.db")
        folder = self.folder / "new"
        folder.mkdir()
        pq.write_table(pa.table(dict(columns)), folder / "train.parquet")
        built = factories.dataset(blob=self.blobs.put_folder(folder, "datasets"))
        files = {"train.parquet": {"sha256": file_digest(folder / "train.parquet")}}
        await self.insert(
            "dataset-builder",
            "datasets",
            event=built.model_dump_json(),
            manifest=json.dumps({"files": files}),
        )
        return built

    async def redact(self, *, dry_run: bool = False) -> tuple[Found, Contents]:
        contents = Contents(self.artifacts, write=not dry_run)
        place = None if dry_run else Place(self.folder / "redact.json", self.urls.values())
        return await Run(self.urls, contents, place).go(), contents

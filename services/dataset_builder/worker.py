"""The build job: read the verdicts, curate and split them off the event loop, store the folder,
then announce it.

Killed before the last transaction, it leaves at most a folder nobody refers to; the next attempt
gives the same bytes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import BlobRef, JsonObject
from schemas.events import DatasetBuilt
from services.dataset_builder import manifest as describe
from services.dataset_builder.assemble import NothingChanged, Refused, Verdicts, assemble
from services.dataset_builder.ledger import Ledger
from services.dataset_builder.order import BuildOrder
from services.dataset_builder.split import Splits
from services.dataset_builder.turns import open_rows
from shared.events import Outbox
from shared.jobs import Job, JobStore
from shared.storage import BlobStore, Database, private_folder
from shared.telemetry import log

WriteFolder = Callable[[Path, Splits, JsonObject], JsonObject]
"""Writes the files of a dataset, manifest last; returns the manifest."""


@dataclass(frozen=True)
class StoredFolder:
    blob: BlobRef
    manifest: JsonObject


@dataclass(frozen=True)
class Builder:
    """Builds one dataset per job; `run` is the job."""

    db: Database
    jobs: JobStore
    ledger: Ledger
    blobs: BlobStore
    outbox: Outbox
    write_folder: WriteFolder

    async def run(self, job: Job) -> None:
        order = BuildOrder.model_validate(job.payload)
        parent: JsonObject | None = None
        async with self.db.read() as connection:
            found = await self.ledger.verdicts.of_build(connection, order.route, order.build)
            if order.parent:
                parent = await self.ledger.datasets.manifest(connection, order.parent)
        opened = await open_rows(self.blobs, found.unopened)
        left_out = Counter(rejected=found.rejected) + opened.refused
        verdicts = Verdicts([*found.rows, *opened.rows], left_out)
        try:
            stored = await asyncio.to_thread(self.build, order, verdicts, parent)
        except Refused as refusal:
            await self.refuse(job, order, refusal)
        else:
            await self.announce(job, order, stored)

    def build(
        self, order: BuildOrder, verdicts: Verdicts, parent: JsonObject | None
    ) -> StoredFolder:
        """Make the dataset and store it. `parent` is the manifest of the version before.

        Raises Refused where the verdicts give no dataset.
        """
        assembled = assemble(verdicts, order.spec, order.parent)
        with private_folder("ratchet-dataset") as folder:
            manifest = self.write_folder(folder, assembled.parts, assembled.facts)
            if parent and order.parent and describe.same_content(manifest, parent):
                raise NothingChanged(order.parent)
            return StoredFolder(self.blobs.put_folder(folder, "datasets"), manifest)

    async def announce(self, job: Job, order: BuildOrder, stored: StoredFolder) -> None:
        manifest = stored.manifest
        event = dataset_built(order, stored)
        async with self.db.transaction() as tx:
            await self.jobs.finish(
                tx,
                job,
                {
                    "dataset_id": event.dataset_id,
                    "rows": manifest["counts"],
                    "dropped": manifest["dropped"],
                },
            )
            await self.ledger.built(tx, order, event, describe.as_json(manifest))
            await self.outbox.add(tx, event)
        log("dataset-builder").info(
            "dataset built", dataset_id=event.dataset_id, build=order.build, **manifest["counts"]
        )

    async def refuse(self, job: Job, order: BuildOrder, refusal: Refused) -> None:
        async with self.db.transaction() as tx:
            await self.jobs.finish(tx, job, {"refused": str(refusal)})
            await self.ledger.refused(tx, order, refusal.name, str(refusal), refusal.missing)
        log("dataset-builder").info(
            "build refused",
            route=order.route,
            build=order.build,
            reason=refusal.name,
            missing=refusal.missing,
        )

    async def gave_up(self, tx: AsyncConnection, job: Job, reason: str, will_retry: bool) -> None:
        """Free the route after the last attempt, or when the job is cancelled.

        Its next verdicts, or a command, order a new build.
        """
        if not will_retry:
            order = BuildOrder.model_validate(job.payload)
            await self.ledger.refused(tx, order, "BuildFailed", reason, 0)

    async def reopen(self, tx: AsyncConnection, job: Job) -> None:
        await self.ledger.reopen(tx, BuildOrder.model_validate(job.payload))


def dataset_built(order: BuildOrder, stored: StoredFolder) -> DatasetBuilt:
    tenant, name = order.route.split("/")
    return DatasetBuilt(
        tenant=tenant,
        route=order.route,
        dataset_id=f"{tenant}--{name}@{stored.blob.sha256[:12]}",
        blob=stored.blob,
        rows=describe.sizes(stored.manifest),
        labels=stored.manifest["labels"]["train"],
        parent=order.parent,
        because=order.because,
        recipe=order.spec.retrain.recipe,
        spec=order.spec,
    )

"""The build job: read the verdicts, curate and split them off the event loop, store the folder,
then announce it.

Killed before the last transaction, it leaves at most a folder nobody refers to; the next attempt
gives the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import BlobRef
from schemas.events import DatasetBuilt
from services.dataset_builder import manifest as describe
from services.dataset_builder.assemble import NothingChanged, Refused, assemble
from services.dataset_builder.ports import FolderWriter, Ledger, Order
from services.dataset_builder.rows import Row
from shared.events.outbox import Outbox
from shared.jobs.worker import Job, JobStore
from shared.storage.blobs import BlobStore
from shared.storage.db import Database
from shared.storage.files import private_folder
from shared.telemetry import log


class Builder:
    def __init__(
        self,
        db: Database,
        jobs: JobStore,
        ledger: Ledger,
        blobs: BlobStore,
        outbox: Outbox,
        write_folder: FolderWriter,
    ) -> None:
        self.db = db
        self.jobs = jobs
        self.ledger = ledger
        self.blobs = blobs
        self.outbox = outbox
        self.write_folder = write_folder
        self.log = log("dataset-builder")

    async def run(self, job: Job) -> None:
        order = Order.model_validate(job.payload)
        rows, rejected = await self.ledger.verdicts(order.route, order.build)
        before = await self.ledger.manifest(order.parent) if order.parent else None
        try:
            blob, manifest = await asyncio.to_thread(self.build, order, rows, rejected, before)
        except Refused as refusal:
            await self.refuse(job, order, refusal)
        else:
            await self.announce(job, order, blob, manifest)

    def build(
        self, order: Order, rows: Sequence[Row], rejected: int, before: dict[str, Any] | None
    ) -> tuple[BlobRef, dict[str, Any]]:
        assembled = assemble(rows, rejected, order.spec, order.parent)
        with private_folder("ratchet-dataset") as folder:
            manifest = self.write_folder(folder, assembled.parts, assembled.facts)
            if before and order.parent and describe.same_content(manifest, before):
                raise NothingChanged(order.parent)
            return self.blobs.put_folder(folder, "datasets"), manifest

    async def announce(
        self, job: Job, order: Order, blob: BlobRef, manifest: dict[str, Any]
    ) -> None:
        event = dataset_built(order, blob, manifest)
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
        self.log.info(
            "dataset built", dataset_id=event.dataset_id, build=order.build, **manifest["counts"]
        )

    async def refuse(self, job: Job, order: Order, refusal: Refused) -> None:
        async with self.db.transaction() as tx:
            await self.jobs.finish(tx, job, {"refused": str(refusal)})
            await self.ledger.refused(tx, order, refusal.name, str(refusal), refusal.missing)
        self.log.info(
            "build refused",
            route=order.route,
            build=order.build,
            reason=refusal.name,
            missing=refusal.missing,
        )

    async def gave_up(self, tx: AsyncConnection, job: Job, reason: str, will_retry: bool) -> None:
        """After the last attempt, or cancelled, the route is free again; its next verdicts, or a
        command, order a new build.
        """
        if not will_retry:
            await self.ledger.refused(
                tx, Order.model_validate(job.payload), "BuildFailed", reason, 0
            )

    async def reopen(self, tx: AsyncConnection, job: Job) -> None:
        await self.ledger.reopen(tx, Order.model_validate(job.payload))


def dataset_built(order: Order, blob: BlobRef, manifest: dict[str, Any]) -> DatasetBuilt:
    tenant, name = order.route.split("/")
    return DatasetBuilt(
        tenant=tenant,
        route=order.route,
        dataset_id=f"{tenant}--{name}@{blob.sha256[:12]}",
        blob=blob,
        rows=describe.sizes(manifest),
        labels=manifest["labels"]["train"],
        parent=order.parent,
        because=order.because,
        recipe=order.spec.retrain.recipe,
        spec=order.spec,
    )

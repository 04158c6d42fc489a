"""The build job: read the verdicts, curate and split them off the event loop, store the folder,
then announce it.

Killed before the last transaction, it leaves at most a folder nobody refers to; the next attempt
gives the same bytes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import BlobRef, JsonObject
from schemas.events import DatasetBuilt, ReviewRequested
from schemas.route import RouteSpec
from services.dataset_builder import manifest as describe
from services.dataset_builder.assemble import (
    Assembled,
    BuildFailed,
    NothingChanged,
    Refused,
    Verdicts,
    assemble,
    refuse_if_unfit,
)
from services.dataset_builder.curate import curate
from services.dataset_builder.disputes import Dispute, disputes
from services.dataset_builder.ledger import Ledger
from services.dataset_builder.losses import count_labels
from services.dataset_builder.order import BuildOrder
from services.dataset_builder.prepare import Questions
from services.dataset_builder.rows import Lost
from services.dataset_builder.store.datasets import StoredDataset
from services.dataset_builder.store.requests import RequestStore
from services.dataset_builder.turns import open_rows
from shared.events import Outbox
from shared.jobs import Job, JobStore
from shared.storage import BlobMissing, BlobStore, Database, private_folder
from shared.telemetry import log

WriteFolder = Callable[[Path, Assembled], JsonObject]
"""Writes the files of a dataset, manifest last; returns the manifest."""
ReadTrained = Callable[[BlobStore, BlobRef, JsonObject], Iterable[str]]
"""Returns the `messages` of the rows that a dataset trains and validates on."""
LostBytes = Callable[[Sequence[Lost]], bytes]
"""Returns the file of the verdicts that a build left out."""


@dataclass(frozen=True)
class StoredFolder:
    blob: BlobRef
    manifest: JsonObject
    # Verdicts that were left out, by label.
    lost_labels: dict[str, int]
    disputes: Sequence[Dispute]


@dataclass(frozen=True)
class Builder:
    """Builds one dataset per job; `run` is the job."""

    db: Database
    jobs: JobStore
    ledger: Ledger
    requests: RequestStore
    blobs: BlobStore
    outbox: Outbox
    write_folder: WriteFolder
    lost_bytes: LostBytes
    read_trained: ReadTrained

    async def run(self, job: Job) -> None:
        order = BuildOrder.model_validate(job.payload)
        parent: StoredDataset | None = None
        async with self.db.read() as connection:
            found = await self.ledger.verdicts.of_build(
                connection, order.route, order.build, order.meaning_us
            )
            if order.parent:
                tenant, _ = order.route.split("/")
                parent = await self.ledger.datasets.get(connection, tenant, order.parent)
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
        self, order: BuildOrder, verdicts: Verdicts, parent: StoredDataset | None
    ) -> StoredFolder:
        """Make the dataset and store it. `parent` is the version before.

        Raises Refused where the verdicts give no dataset.
        """
        curated = curate(verdicts.rows, order.spec)
        lost_labels = count_labels(curated.lost, order.spec)
        unsettled = disputes(curated.lost, order.spec)
        try:
            refuse_if_unfit(verdicts, curated, order.spec, order.accept_losses)
        except Refused as refusal:
            refusal.lost = self.blobs.put_bytes(self.lost_bytes(curated.lost), "lost", ".parquet")
            refusal.lost_labels = lost_labels
            refusal.disputes = unsettled
            raise
        assembled = assemble(verdicts, curated, order, self.seen(order.spec, parent))
        with private_folder("ratchet-dataset") as folder:
            manifest = self.write_folder(folder, assembled)
            if parent and describe.same_content(manifest, parent.manifest):
                raise NothingChanged(parent.event.dataset_id, unsettled)
            blob = self.blobs.put_folder(folder, "datasets")
        return StoredFolder(blob, manifest, lost_labels, unsettled)

    def seen(self, spec: RouteSpec, parent: StoredDataset | None) -> set[bytes]:
        """Return the keys of the questions that the version before was trained or validated on."""
        if parent is None:
            return set()
        questions = Questions(spec)
        try:
            asked = self.read_trained(self.blobs, parent.event.blob, parent.manifest)
            return {questions.of(messages).key for messages in asked}
        except BlobMissing as error:
            log("dataset-builder").warning(
                "rows of the version before may be tested on", because=str(error)
            )
            return set()

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
            await self.ledger.built(
                tx, order, event, describe.as_json(manifest), stored.lost_labels
            )
            await self.outbox.add(tx, event)
            await self.ask_again(tx, order, stored.disputes)
        log("dataset-builder").info(
            "dataset built", dataset_id=event.dataset_id, build=order.build, **manifest["counts"]
        )

    async def refuse(self, job: Job, order: BuildOrder, refusal: Refused) -> None:
        async with self.db.transaction() as tx:
            await self.jobs.finish(tx, job, {"refused": str(refusal)})
            await self.ledger.refused(tx, order, refusal)
            await self.ask_again(tx, order, refusal.disputes)
        log("dataset-builder").info(
            "build refused",
            route=order.route,
            build=order.build,
            reason=refusal.name,
            missing=refusal.missing,
        )

    async def ask_again(
        self, tx: AsyncConnection, order: BuildOrder, found: Sequence[Dispute]
    ) -> None:
        """Ask reviewers for verdicts that no majority settles, each once."""
        chosen = await self.requests.choose(tx, order.route, found)
        for one in chosen:
            await self.outbox.add(tx, review_requested(order.route, one))
        if chosen:
            log("dataset-builder").info(
                "asked again", route=order.route, build=order.build, verdicts=len(chosen)
            )

    async def gave_up(self, tx: AsyncConnection, job: Job, reason: str, will_retry: bool) -> None:
        """Free the route after the last attempt, or when the job is cancelled.

        Its next verdicts, or a command, order a new build.
        """
        if not will_retry:
            order = BuildOrder.model_validate(job.payload)
            await self.ledger.refused(tx, order, BuildFailed(reason))

    async def reopen(self, tx: AsyncConnection, job: Job) -> None:
        await self.ledger.reopen(tx, BuildOrder.model_validate(job.payload))


def review_requested(route: str, dispute: Dispute) -> ReviewRequested:
    return ReviewRequested(
        tenant=route.split("/", maxsplit=1)[0],
        route=route,
        inference_id=dispute.inference_id,
        review_id=dispute.review_id,
        said=dispute.said,
    )


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

"""Events in: a dataset becomes a stored job, in milliseconds."""

from __future__ import annotations

from typing import Annotated

from faststream.kafka import KafkaRouter

from schemas import topics
from schemas.events import DatasetBuilt, RouteChanged
from services.trainer.order import JOB
from shared.events.bus import Given, Tx, subscribe
from shared.jobs.worker import JobStore
from shared.rules.routes import RouteBook

SERVICE = "trainer"
router = KafkaRouter()


@subscribe(router, SERVICE, topics.DATASET_BUILT)
async def on_dataset_built(event: DatasetBuilt, tx: Tx, jobs: Annotated[JobStore, Given()]) -> None:
    await jobs.add(tx, JOB, event.event_id, event.model_dump(mode="json"))


@subscribe(router, SERVICE, topics.ROUTE_CHANGED)
async def on_route_changed(
    event: RouteChanged, tx: Tx, routes: Annotated[RouteBook, Given()]
) -> None:
    await routes.apply(tx, event)

"""Events in: an evaluation becomes a stored job, the streams become observations. Nothing long
happens here.
"""

from __future__ import annotations

from typing import Annotated

from faststream.kafka import KafkaRouter

from schemas import topics
from schemas.events import (
    AdapterTrained,
    FeedbackRecorded,
    InferenceRecorded,
    ReviewCompleted,
    RouteChanged,
)
from services.evaluator import ports
from services.evaluator.champions import state_of
from services.evaluator.observed import champions_attempt, observe
from shared.events.bus import Given, Tx, subscribe
from shared.jobs.worker import JobStore
from shared.rules.routes import RouteBook

SERVICE = "evaluator"
JOB = "evaluate"
router = KafkaRouter()

Routes = Annotated[RouteBook, Given()]
Streams = Annotated[ports.Streams, Given()]
Monitors = Annotated[ports.Monitors, Given()]


@subscribe(router, SERVICE, topics.ADAPTER_TRAINED)
async def on_adapter_trained(
    event: AdapterTrained, tx: Tx, jobs: Annotated[JobStore, Given()]
) -> None:
    await jobs.add(tx, JOB, event.event_id, event.model_dump(mode="json"))


@subscribe(router, SERVICE, topics.ROUTE_CHANGED)
async def on_route_changed(event: RouteChanged, tx: Tx, routes: Routes, monitors: Monitors) -> None:
    await routes.apply(tx, event)
    await monitors.follow(
        tx, await routes.get(tx, event.route)
    )  # the newest state, should this event be an old one


@subscribe(router, SERVICE, topics.INFERENCE_RECORDED)
async def on_inference_recorded(
    event: InferenceRecorded, tx: Tx, routes: Routes, streams: Streams
) -> None:
    attempt = champions_attempt(event)
    if attempt is not None:
        spec = (await state_of(routes, tx, event.route)).spec
        await streams.add_observation(tx, observe(event, attempt, spec))


@subscribe(router, SERVICE, topics.REVIEW_COMPLETED)
async def on_review_completed(
    event: ReviewCompleted, tx: Tx, streams: Streams, monitors: Monitors
) -> None:
    if await streams.add_review(tx, event):
        await monitors.count(tx, event)


@subscribe(router, SERVICE, topics.FEEDBACK_RECORDED)
async def on_feedback_recorded(event: FeedbackRecorded, tx: Tx, streams: Streams) -> None:
    await streams.add_feedback(tx, event)

"""Events in: what was asked, what was asked for review, what users said, where drift was seen, what
routes are.
"""

from __future__ import annotations

from typing import Annotated

from faststream.kafka import KafkaRouter

from schemas import topics
from schemas.events import (
    DriftDetected,
    FeedbackRecorded,
    InferenceRecorded,
    ReviewRequested,
    RouteChanged,
)
from services.review.intake import Intake
from shared.events.bus import Given, Tx, subscribe

router = KafkaRouter()


@subscribe(router, "review", topics.INFERENCE_RECORDED)
async def on_inference_recorded(
    event: InferenceRecorded, tx: Tx, intake: Annotated[Intake, Given()]
) -> None:
    await intake.inference(tx, event)


@subscribe(router, "review", topics.REVIEW_REQUESTED)
async def on_review_requested(
    event: ReviewRequested, tx: Tx, intake: Annotated[Intake, Given()]
) -> None:
    await intake.request(tx, event)


@subscribe(router, "review", topics.FEEDBACK_RECORDED)
async def on_feedback_recorded(
    event: FeedbackRecorded, tx: Tx, intake: Annotated[Intake, Given()]
) -> None:
    await intake.feedback(tx, event)


@subscribe(router, "review", topics.DRIFT_DETECTED)
async def on_drift_detected(
    event: DriftDetected, tx: Tx, intake: Annotated[Intake, Given()]
) -> None:
    await intake.drift(tx, event)


@subscribe(router, "review", topics.ROUTE_CHANGED)
async def on_route_changed(event: RouteChanged, tx: Tx, intake: Annotated[Intake, Given()]) -> None:
    await intake.route(tx, event)

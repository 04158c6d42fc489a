"""Events in: verdicts are stored and may order a build; feedback is kept beside them; drift lowers
the threshold.
"""

from __future__ import annotations

from typing import Annotated

from faststream.kafka import KafkaRouter

from schemas import topics
from schemas.events import DriftDetected, FeedbackRecorded, ReviewCompleted, RouteChanged
from services.dataset_builder.ports import Ledger
from shared.events.bus import Given, Tx, subscribe

SERVICE = "dataset-builder"
router = KafkaRouter()


@subscribe(router, SERVICE, topics.REVIEW_COMPLETED)
async def on_review_completed(
    event: ReviewCompleted, tx: Tx, ledger: Annotated[Ledger, Given()]
) -> None:
    await ledger.add_verdict(tx, event)


@subscribe(router, SERVICE, topics.FEEDBACK_RECORDED)
async def on_feedback_recorded(
    event: FeedbackRecorded, tx: Tx, ledger: Annotated[Ledger, Given()]
) -> None:
    await ledger.add_feedback(tx, event)


@subscribe(router, SERVICE, topics.DRIFT_DETECTED)
async def on_drift_detected(
    event: DriftDetected, tx: Tx, ledger: Annotated[Ledger, Given()]
) -> None:
    await ledger.add_drift(tx, event)


@subscribe(router, SERVICE, topics.ROUTE_CHANGED)
async def on_route_changed(event: RouteChanged, tx: Tx, ledger: Annotated[Ledger, Given()]) -> None:
    await ledger.change_route(tx, event)

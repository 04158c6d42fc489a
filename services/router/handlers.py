"""Events in: verdicts on adapters, calibrations, and the reviews that say how each arm did."""

from __future__ import annotations

from typing import Annotated

from faststream.kafka import KafkaRouter

from schemas import topics
from schemas.events import AdapterEvaluated, CalibrationFitted, ReviewCompleted
from services.router.rollout import CanaryRule, entry
from services.router.state import Routes
from shared.events.bus import Given, Tx, subscribe

router = KafkaRouter()


@subscribe(router, "router", topics.ADAPTER_EVALUATED)
async def on_adapter_evaluated(
    event: AdapterEvaluated,
    tx: Tx,
    routes: Annotated[Routes, Given()],
    canary_rule: Annotated[CanaryRule, Given()],
) -> None:
    state = await routes.load(tx, event.route)
    decision = entry(
        event, state, await routes.served_before(tx, event.route, event.adapter.adapter_id)
    )
    if await routes.add_evaluation(tx, event, decision) and decision == "canary":
        because = f"evaluation {event.evaluation_id}: {'; '.join(event.reasons)}"
        await routes.save(
            tx, state, state.challenged(event.adapter, canary_rule.share), because, "evaluator"
        )


@subscribe(router, "router", topics.CALIBRATION_FITTED)
async def on_calibration_fitted(
    event: CalibrationFitted, tx: Tx, routes: Annotated[Routes, Given()]
) -> None:
    await routes.add_calibration(tx, event)


@subscribe(router, "router", topics.REVIEW_COMPLETED)
async def on_review_completed(
    event: ReviewCompleted, tx: Tx, routes: Annotated[Routes, Given()]
) -> None:
    """Only the uniform share may compare arms: the rest was sampled because it looked doubtful."""
    if event.audit:
        await routes.add_outcome(tx, event)

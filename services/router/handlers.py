"""Events in that the router decides about: verdicts on adapters, and completed reviews."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import AdapterEvaluated, ReviewCompleted
from services.router.rollout import CanaryRule, admit
from services.router.shadows import digest
from services.router.store.routes import RouteDatabase
from services.router.store.shadows import ShadowStore
from shared.clock import now


@dataclass(frozen=True)
class RouteHandlers:
    routes: RouteDatabase
    shadows: ShadowStore
    canary_rule: CanaryRule

    async def on_adapter_evaluated(self, tx: AsyncConnection, event: AdapterEvaluated) -> None:
        state = await self.routes.load(tx, event.route)
        served = await self.routes.served_before(tx, event.route, event.adapter.adapter_id)
        decision = admit(event, state, served, now().timestamp())
        if await self.routes.add_evaluation(tx, event, decision) and decision == "canary":
            because = f"evaluation {event.evaluation_id}: {'; '.join(event.reasons)}"
            challenged = state.challenged(event.adapter, self.canary_rule.share)
            await self.routes.save(tx, state, challenged, because, "evaluator")

    async def on_review_completed(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Keep the outcome of the uniform sample, which alone may compare arms.

        Everything else was sampled because it looked doubtful. A second look at a verdict is none
        of its own.
        """
        if event.second_of:
            return
        if event.withdrawn:
            await self.routes.drop_outcome(tx, event.review_id)
            await self.shadows.forget(tx, event.inference_id)
        elif event.audit:
            await self.routes.add_outcome(tx, event)
            await self._judge_shadow(tx, event)

    async def _judge_shadow(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Say of what was answered beside whether it is right, too."""
        state = await self.routes.find(tx, event.route)
        if state and state.spec.canary.shadow:
            right = None if event.answer is None else digest(event.answer, state.spec)
            await self.shadows.judge(tx, event.inference_id, right)

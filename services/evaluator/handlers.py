"""Events in: an adapter becomes a job, the streams become observations and monitors."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import AdapterTrained, InferenceRecorded, ReviewCompleted, RouteChanged
from services.evaluator.champions import state_of
from services.evaluator.evaluation import JOB
from services.evaluator.observed import champion_answer, observe
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.store.streams import StreamStore
from shared.jobs import JobStore
from shared.rules import RouteBook


@dataclass(frozen=True)
class EventHandlers:
    """What happens with the events that need more than one store."""

    jobs: JobStore
    routes: RouteBook
    streams: StreamStore
    monitors: MonitorStore

    async def on_adapter_trained(self, tx: AsyncConnection, event: AdapterTrained) -> None:
        await self.jobs.add(tx, JOB, event.event_id, event.model_dump(mode="json"))

    async def on_route_changed(self, tx: AsyncConnection, event: RouteChanged) -> None:
        await self.routes.on_route_changed(tx, event)
        # This event may be an old one that came late: follow the newest state.
        await self.monitors.follow(tx, await self.routes.get(tx, event.route))

    async def on_inference_recorded(self, tx: AsyncConnection, event: InferenceRecorded) -> None:
        answer = champion_answer(event)
        if answer is not None:
            spec = (await state_of(self.routes, tx, event.route)).spec
            await self.streams.add_observation(tx, observe(event, answer, spec))

    async def on_review_completed(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        if event.withdrawn:
            if await self.streams.withdraw_review(tx, event):
                await self.monitors.uncount(tx, event)
        elif await self.streams.add_review(tx, event):
            await self.monitors.count(tx, event)

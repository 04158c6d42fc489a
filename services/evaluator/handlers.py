"""Events in: an adapter becomes a job, the streams become observations and monitors."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import AdapterTrained, InferenceRecorded, ReviewCompleted, RouteChanged
from services.evaluator.champions import state_of
from services.evaluator.contests import JOB
from services.evaluator.observed import answer_without_champion, champion_answer, observe
from services.evaluator.store.answered import AnsweredStore
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.store.reviewers import LookStore
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
    answered: AnsweredStore
    looks: LookStore

    async def on_adapter_trained(self, tx: AsyncConnection, event: AdapterTrained) -> None:
        await self.jobs.add(tx, JOB, event.event_id, event.model_dump(mode="json"))

    async def on_route_changed(self, tx: AsyncConnection, event: RouteChanged) -> None:
        await self.routes.on_route_changed(tx, event)
        # This event may be an old one that came late: follow the newest state.
        await self.monitors.follow(tx, await self.routes.get(tx, event.route), event)

    async def on_inference_recorded(self, tx: AsyncConnection, event: InferenceRecorded) -> None:
        await self.answered.add(tx, event)
        if answer := champion_answer(event):
            spec = (await state_of(self.routes, tx, event.route)).spec
            await self.streams.add_observation(tx, observe(event, answer, spec))
        elif answer := answer_without_champion(event):
            state = await state_of(self.routes, tx, event.route)
            if state.champion is None:
                await self.streams.add_observation(tx, observe(event, answer, state.spec))

    async def on_review_completed(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        if event.audit:
            await self.looks.add(tx, event)
        # It tells of reviewers, not of the answer.
        if event.second_of:
            return
        if event.audit:
            # The monitor that counts it begins with the route.
            await state_of(self.routes, tx, event.route)
        if event.withdrawn:
            if await self.streams.withdraw_review(tx, event):
                await self.monitors.uncount(tx, event)
        elif await self.streams.add_review(tx, event):
            await self.monitors.count(tx, event)

"""Events into decisions: an inference, a review request and feedback about it meet in any order and
decide once.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import (
    DriftDetected,
    FeedbackRecorded,
    InferenceRecorded,
    ReviewRequested,
    RouteChanged,
)
from schemas.route import ReviewRule
from services.review.items import Arrival, Asked
from services.review.ports import Arrivals
from services.review.sampling import coin, decide
from shared.errors import Retryable
from shared.rules.routes import RouteBook, RouteUnknown


class RouteNotHeardYet(Retryable):
    def __init__(self, route: str) -> None:
        super().__init__(
            f"nothing was heard about the route '{route}' yet; its route-changed may be on the way"
        )


class Intake:
    def __init__(self, store: Arrivals, routes: RouteBook, salt: str) -> None:
        self.store = store
        self.routes = routes
        self.salt = salt

    async def inference(self, tx: AsyncConnection, event: InferenceRecorded) -> None:
        arrival = await self._meet(tx, event)
        if arrival.state != "awaited":
            return
        unsure = arrival.unsure or event.outcome == "unsure"
        await self.store.record(tx, arrival.item_id, event.route, Asked.of(event), unsure)
        if rule := await self._rule(tx, event.route):
            drift = await self.store.take_from_batch(tx, event.route)
            await self._place(tx, replace(arrival, unsure=unsure), rule, drift)

    async def request(self, tx: AsyncConnection, event: ReviewRequested) -> None:
        """The inference's outcome says the same; whichever comes first decides, the other only
        confirms.
        """
        arrival = await self._meet(tx, event)
        if arrival.unsure or arrival.state == "done":
            return
        await self.store.mark(tx, arrival.item_id, unsure=True)
        if arrival.state == "set_aside" and (rule := await self._rule(tx, event.route)):
            await self._place(tx, replace(arrival, unsure=True), rule)

    async def feedback(self, tx: AsyncConnection, event: FeedbackRecorded) -> None:
        if not objects(event):
            return
        arrival = await self._meet(tx, event)
        if arrival.state == "done":
            return
        suggestion = {"suggestion": event.text} if event.kind == "correction" else {}
        await self.store.mark(tx, arrival.item_id, complaint=True, **suggestion)
        if arrival.state in ("set_aside", "open") and (rule := await self._rule(tx, event.route)):
            await self._place(tx, replace(arrival, complaint=True), rule)

    async def drift(self, tx: AsyncConnection, event: DriftDetected) -> None:
        rule = await self._rule(tx, event.route)
        if rule is None:
            raise RouteNotHeardYet(event.route)
        await self.store.open_batch(tx, event.route, event.drift_id, rule.drift_batch)

    async def route(self, tx: AsyncConnection, event: RouteChanged) -> None:
        await self.routes.apply(tx, event)
        for arrival in await self.store.unrouted(tx, event.route):
            await self._place(tx, arrival, event.spec.review)

    async def _meet(
        self, tx: AsyncConnection, event: InferenceRecorded | ReviewRequested | FeedbackRecorded
    ) -> Arrival:
        return await self.store.meet(
            tx, event.tenant, event.route, event.inference_id, coin(event.inference_id, self.salt)
        )

    async def _place(
        self, tx: AsyncConnection, arrival: Arrival, rule: ReviewRule, drift: bool = False
    ) -> None:
        decision = decide(
            arrival.coin, rule, unsure=arrival.unsure, drift=drift, complaint=arrival.complaint
        )
        await self.store.place(tx, arrival, decision)

    async def _rule(self, tx: AsyncConnection, route: str) -> ReviewRule | None:
        try:
            return (await self.routes.get(tx, route)).spec.review
        except RouteUnknown:
            return None


def objects(event: FeedbackRecorded) -> bool:
    """Whether feedback says that the answer was wrong: a corrected text, or a rating of zero or
    less.
    """
    if event.kind == "correction":
        return bool(event.text)
    return event.kind == "rating" and event.value is not None and event.value <= 0

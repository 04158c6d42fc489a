"""Events in: an inference, a review request and feedback about it meet in any order and decide
once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import (
    DriftDetected,
    FeedbackRecorded,
    InferenceRecorded,
    ReviewRequested,
    RouteChanged,
)
from schemas.route import ReviewRule
from services.review.facts import included, withdrawn
from services.review.housekeeping import DAY_SECONDS
from services.review.items import Arrival, Exchange
from services.review.sampling import charged, coin, sample
from services.review.store.arrivals import Arrivals
from services.review.store.budgets import Budgets
from shared.errors import Retryable
from shared.events import Outbox
from shared.rules import RouteBook, RouteUnknown
from shared.telemetry import log


class RouteNotHeardYet(Retryable):
    def __init__(self, route: str) -> None:
        super().__init__(
            f"nothing was heard about the route '{route}' yet; its route-changed may be on the way"
        )


@dataclass(frozen=True)
class Intake:
    """The handlers of this service. `salt` seeds the coin that samples answers; what it sets aside
    is kept for `keep_days`.
    """

    arrivals: Arrivals
    budgets: Budgets
    routes: RouteBook
    outbox: Outbox
    salt: str
    keep_days: float

    async def on_inference_recorded(self, tx: AsyncConnection, event: InferenceRecorded) -> None:
        arrival = await self._meet(tx, event)
        if arrival.state != "awaited":
            return
        # What is unsure only because nothing is certified yet is reviewed like the rest.
        unsure = not event.provisional and (arrival.unsure or event.outcome == "unsure")
        day = event.occurred_at.astimezone(UTC).date().isoformat() if event.provisional else None
        asked = Exchange.of(event)
        await self.arrivals.record(
            tx, arrival.item_id, event.route, asked, event.metadata, unsure, day
        )
        if rule := await self._rule(tx, event.route):
            drift = await self.arrivals.take_from_batch(tx, event.route)
            await self._place(
                tx, replace(arrival, unsure=unsure, provisional_on=day), event.route, rule, drift
            )

    async def on_review_requested(self, tx: AsyncConnection, event: ReviewRequested) -> None:
        """Queue an answer that no model was sure about, or a verdict that is to be given again.

        The inference's outcome says the same as the first: whichever comes first decides, the other
        confirms.
        """
        if event.review_id:
            await self._ask_again(tx, event, event.review_id)
            return
        arrival = await self._meet(tx, event)
        if arrival.unsure or arrival.provisional_on or arrival.state == "done":
            return
        await self.arrivals.mark_unsure(tx, arrival.item_id)
        if arrival.state == "set_aside" and (rule := await self._rule(tx, event.route)):
            await self._place(tx, replace(arrival, unsure=True), event.route, rule)

    async def on_feedback_recorded(self, tx: AsyncConnection, event: FeedbackRecorded) -> None:
        if not objects(event):
            return
        arrival = await self._meet(tx, event)
        # Postgres stores no text that holds U+0000.
        text = event.text and event.text.replace("\0", "\ufffd")
        suggestion = text if event.kind == "correction" else None
        await self.arrivals.mark_complaint(tx, arrival.item_id, suggestion)
        if not self._acts(event, arrival):
            return
        if arrival.state == "done":
            await self._include(tx, arrival)
        elif arrival.placed and (rule := await self._rule(tx, event.route)):
            await self._place(tx, replace(arrival, complaint=True), event.route, rule)

    async def on_drift_detected(self, tx: AsyncConnection, event: DriftDetected) -> None:
        rule = await self._rule(tx, event.route)
        if rule is None:
            raise RouteNotHeardYet(event.route)
        # Its batch was opened by the alarm that these labels bear out.
        if event.confirms:
            return
        await self.arrivals.open_batch(tx, event.route, event.drift_id, rule.drift_batch)

    async def on_route_changed(self, tx: AsyncConnection, event: RouteChanged) -> None:
        """Keep the route, and place the answers that came before it."""
        await self.routes.on_route_changed(tx, event)
        for arrival in await self.arrivals.unrouted(tx, event.route):
            await self._place(tx, arrival, event.route, event.spec.review)

    async def _ask_again(self, tx: AsyncConnection, event: ReviewRequested, review_id: str) -> None:
        """Withdraw a verdict that others contradict, and have its answer reviewed once more.

        One that was taken back or given again meanwhile is left alone, and so is one whose content
        nobody could see.
        """
        about = event.tenant, event.inference_id, review_id
        item = await self.arrivals.said_as(tx, *about)
        if item is None or item.exchange is None or item.reviewer is None:
            return
        await self.outbox.add(tx, withdrawn(item, item.exchange, item.reviewer))
        await self.arrivals.ask_again(tx, item, event.said)

    def _acts(self, event: FeedbackRecorded, arrival: Arrival) -> bool:
        """Say whether a complaint decides: later, what the coin set aside is forgotten, so that
        only the coin can have brought the answer to a reviewer.
        """
        late = event.occurred_at.timestamp() - arrival.recorded_at
        return arrival.state == "set_aside" or late <= self.keep_days * DAY_SECONDS

    async def _include(self, tx: AsyncConnection, arrival: Arrival) -> None:
        """Say a verdict once more that a complaint came after: had the coin said no, the complaint
        would have brought the answer here, so it was to be reviewed with probability 1.
        """
        item = await self.arrivals.decided(tx, arrival.item_id)
        if item.probability == 1.0:
            return
        if item.exchange is None:
            log("review").warning("complaint not counted", item_id=item.item_id)
            return
        await self.arrivals.include(tx, item.item_id)
        await self.outbox.add(tx, included(item, item.exchange))

    async def _meet(
        self, tx: AsyncConnection, event: InferenceRecorded | ReviewRequested | FeedbackRecorded
    ) -> Arrival:
        tossed = coin(event.inference_id, self.salt)
        return await self.arrivals.meet(tx, event.tenant, event.route, event.inference_id, tossed)

    async def _place(
        self,
        tx: AsyncConnection,
        arrival: Arrival,
        route: str,
        rule: ReviewRule,
        drift: bool = False,
    ) -> None:
        sampling = sample(
            arrival.coin,
            rule,
            unsure=arrival.unsure,
            drift=drift,
            complaint=arrival.complaint,
            spent=not arrival.placed and await self._spent(tx, arrival, route, rule),
        )
        if arrival.placed:
            # The uniform share is of all answers, by the rule of their time: under a new rate those
            # that users complain of would join or leave it alone.
            sampling = replace(sampling, audit=arrival.audit)
        await self.arrivals.place(tx, arrival, sampling)

    async def _spent(
        self, tx: AsyncConnection, arrival: Arrival, route: str, rule: ReviewRule
    ) -> bool:
        """Say whether the day's budget was used up before a provisional answer came."""
        day = arrival.provisional_on
        charge = charged(arrival.coin, rule)
        return day is not None and await self.budgets.spend(
            tx, route, day, rule.daily_budget, charge
        )

    async def _rule(self, tx: AsyncConnection, route: str) -> ReviewRule | None:
        try:
            return (await self.routes.get(tx, route)).spec.review
        except RouteUnknown:
            return None


def objects(event: FeedbackRecorded) -> bool:
    """Say whether feedback calls the answer wrong: by a correction, or a rating of at most zero."""
    if event.kind == "correction":
        return bool(event.text)
    return event.kind == "rating" and event.value is not None and event.value <= 0

"""Events in: which routes exist."""

from __future__ import annotations

from typing import Annotated

from faststream.kafka import KafkaRouter

from schemas import topics
from schemas.events import RouteChanged
from shared.events.bus import Given, Tx, subscribe
from shared.rules.routes import RouteBook

router = KafkaRouter()


@subscribe(router, "capture", topics.ROUTE_CHANGED)
async def on_route_changed(
    event: RouteChanged, tx: Tx, routes: Annotated[RouteBook, Given()]
) -> None:
    await routes.apply(tx, event)

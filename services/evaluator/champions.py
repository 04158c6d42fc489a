"""What serves a route, as last heard; what is asked before that is known waits."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import RouteChanged
from shared.errors import Retryable
from shared.rules import RouteBook, RouteUnknown


class RouteNotHeardOf(Retryable):
    """The event log promises no order between topics, so this passes."""

    def __init__(self, route: str) -> None:
        super().__init__(
            f"'{route}' has not been announced on route-changed yet, so its champion is not known;"
            " trying again"
        )


async def state_of(routes: RouteBook, tx: AsyncConnection, route: str) -> RouteChanged:
    """Return the route's newest state. Raises RouteNotHeardOf, which is tried again."""
    try:
        return await routes.get(tx, route)
    except RouteUnknown as error:
        raise RouteNotHeardOf(route) from error

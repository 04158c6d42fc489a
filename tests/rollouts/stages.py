"""The six services around two stub engines, hurried by their settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from tests.faults.world import World
from tests.rollouts.cast import Cast, Part, Role, Stage
from tests.rollouts.story import Story, client_of

SETTINGS = {
    "router": {
        # Of which an adapter has half.
        "vllm_timeout": 2.0,
        "canary_requests": 10,
        "canary_seconds": 0.5,
        "canary_share": 0.5,
        "max_loaded": 64,
    },
    "evaluator": {"request_timeout_seconds": 5.0},
}
CONSTANTS = {
    # What hangs is tried again at once, and looks come often.
    "services.router.breakers.REST_SECONDS": 0.5,
    "services.router.probation.EVERY": 0.5,
}


@dataclass
class Stages:
    world: World
    client: httpx.AsyncClient

    def story(self, name: str, max_risk: float = 0.3) -> Story:
        return Story(self.world, self.client, name, max_risk=max_risk)


@asynccontextmanager
async def running(
    world: World, roles: dict[str, tuple[Role, ...]], base: Part | None = None
) -> AsyncIterator[Stages]:
    """Run a world in which the versions of each route play these roles, before a base model."""
    cast = Cast(roles, base) if base else Cast(roles)
    world.engines = {"evaluation": Stage(cast, "evaluation"), "serving": Stage(cast, "serving")}
    world.own_settings |= SETTINGS
    world.options = {"constants": CONSTANTS}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(world)
        client = await stack.enter_async_context(client_of(world))
        await world.start_all()
        yield Stages(world, client)

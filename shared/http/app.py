"""The HTTP side every service has: one JSON error shape, one door, health, metrics, no CDN."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from schemas.base import JsonObject
from shared.http.allowance import Allowances
from shared.http.auth import Keyring
from shared.http.door import Door
from shared.http.errors import EXCEPTION_HANDLERS, error_response
from shared.settings import ServiceSettings
from shared.workers import metrics_of_all

Ready = Callable[[], Awaitable[JsonObject]]


def create_api(
    name: str,
    settings: ServiceSettings,
    routers: list[APIRouter],
    ready: Ready,
    trouble: Callable[[], str | None],
    lifespan: Any,
) -> FastAPI:
    # /docs would load scripts from a CDN: closed networks and our CSP forbid it; /openapi.json
    # stays.
    api = FastAPI(
        title=f"Ratchet {name}",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        exception_handlers=EXCEPTION_HANDLERS,
        # Spans and metrics are ours to make: FastAPI would ask for each request whether to.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    api.state.keyring = Keyring(settings.keys_file)
    allowances = Allowances(settings)
    api.add_middleware(
        Door,
        api=api,
        allowances=allowances,
        most=settings.max_body_bytes,
        access_log=settings.access_log,
    )
    for router in routers:
        api.include_router(router)
    api.include_router(_operations(ready, trouble))
    return api


def _operations(ready: Ready, trouble: Callable[[], str | None]) -> APIRouter:
    router = APIRouter(tags=["operations"])
    asked: asyncio.Future[JsonObject] | None = None

    @router.get("/health/live")
    async def live() -> Response:
        """Say whether this process gets on; 503: it is alive and stuck, restart it."""
        if reason := trouble():
            return error_response("Stuck", reason, 503)
        return JSONResponse({"status": "alive"})

    @router.get("/health/ready")
    async def readiness() -> JsonObject:
        """Return what this service stands on, and whether each part answers.

        It serves what it can while a part is away. All who ask at the same time get one answer:
        nobody needs a key to ask, and each answer reads the database.
        """
        nonlocal asked
        if asked is None or asked.done():
            asked = asyncio.ensure_future(ready())
        return await asyncio.shield(asked)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(metrics_of_all()), media_type=CONTENT_TYPE_LATEST)

    return router

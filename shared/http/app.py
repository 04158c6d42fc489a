"""The HTTP side every service has: one JSON error shape, a body limit, health, metrics, no CDN."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import RatchetError
from shared.http.auth import Keyring
from shared.settings import ServiceSettings
from shared.telemetry import log

Ready = Callable[[], Awaitable[dict[str, Any]]]


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
    api = FastAPI(title=f"Ratchet {name}", lifespan=lifespan, docs_url=None, redoc_url=None)
    api.add_middleware(BodyLimit, most=settings.max_body_bytes)
    api.state.keyring = Keyring(settings.keys_file)
    for router in routers:
        api.include_router(router)
    api.include_router(_operations(ready, trouble))
    api.add_exception_handler(RatchetError, _expected)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _unexpected)
    return api


class BodyLimit:
    """Refuses a large body where it is read, so that the 413 has the shape of the endpoint
    (FastAPI's own limit answers in plain text).
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = dict(scope.get("headers") or ()).get(b"content-length", b"0")
        size = int(declared) if declared.isdigit() else 0
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive() if size <= self.most else {}
            seen += len(message.get("body", b""))
            if max(size, seen) > self.most:
                raise HTTPException(
                    413, f"the body is larger than {self.most} bytes: send less at once"
                )
            return message

        await self.app(scope, limited if scope["type"] == "http" else receive, send)


def error_response(
    name: str, detail: str, status: int, retry_after: int | None = None
) -> JSONResponse:
    """The one shape of an error: `{"error": "ClassName", "detail": "what to do next"}`."""
    headers = {"retry-after": str(retry_after)} if retry_after else None
    return JSONResponse({"error": name, "detail": detail}, status, headers)


async def _expected(_: Request, error: RatchetError) -> Response:
    return error_response(error.name, str(error), error.status, error.retry_after)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    problems = [
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:5]
    ]
    return error_response("InvalidRequest", "; ".join(problems), 422)


async def _http(_: Request, error: HTTPException) -> Response:
    names = {404: "NotFound", 405: "MethodNotAllowed", 413: "BodyTooLarge"}
    return error_response(
        names.get(error.status_code, "HttpError"), str(error.detail), error.status_code
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    log("http").error(
        "unexpected", path=request.url.path, error=type(error).__name__, exc_info=error
    )
    return error_response(
        "InternalError", "something broke on our side; the log of this service says what", 500
    )


def _operations(ready: Ready, trouble: Callable[[], str | None]) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/health/live")
    async def live() -> Response:
        """Whether this process gets on. 503: it is alive and stuck, restart it."""
        if reason := trouble():
            return error_response("Stuck", reason, 503)
        return JSONResponse({"status": "alive"})

    @router.get("/health/ready")
    async def readiness() -> dict[str, Any]:
        """What this service stands on, and whether each part answers. It serves what it can while a
        part is away.
        """
        return await ready()

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router

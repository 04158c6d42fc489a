"""The one JSON shape of an error, and which exception becomes which answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from shared.errors import RatchetError
from shared.telemetry import log


def error_response(
    name: str, detail: str, status: int, retry_after: int | None = None
) -> JSONResponse:
    """Answer in the one shape of an error: `{"error": "ClassName", "detail": "what to do"}`."""
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


EXCEPTION_HANDLERS: dict[
    int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]
] = {
    RatchetError: _expected,
    RequestValidationError: _invalid,
    HTTPException: _http,
    Exception: _unexpected,
}

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

PLACE_CHARACTERS = 100
WHY_CHARACTERS = 500
# What FastAPI says of a body on which the JSON parser failed with anything but a syntax error.
UNREADABLE_JSON = "There was an error parsing the body"


def error_response(
    name: str, detail: str, status: int, retry_after: int | None = None
) -> JSONResponse:
    """Answer in the one shape of an error: `{"error": "ClassName", "detail": "what to do"}`."""
    headers = {"retry-after": str(retry_after)} if retry_after else None
    return JSONResponse({"error": name, "detail": detail}, status, headers)


def as_response(_: str, error: RatchetError) -> Response:
    return error_response(error.name, str(error), error.status, error.retry_after)


async def _expected(_: Request, error: RatchetError) -> Response:
    return as_response("", error)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    return error_response("InvalidRequest", "; ".join(problems_of(error)), 422)


def problems_of(error: RequestValidationError) -> list[str]:
    """Say where a request is wrong, and why, of its first five mistakes.

    A place is cut: it holds names that the client chose, of unknown fields, of any length.
    """
    return [
        f"{'.'.join(map(str, e['loc']))[:PLACE_CHARACTERS]}: {e['msg'][:WHY_CHARACTERS]}"
        for e in error.errors()[:5]
    ]


class MethodNotAllowed(RatchetError):
    status = 405

    def __init__(self) -> None:
        super().__init__("this address takes no such method: /openapi.json says which it takes")


async def _http(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        # Raised where no endpoint is that knows the shape of its clients.
        refusal = getattr(request.app.state, "refusal", as_response)
        refused: Response = refusal(request.url.path, MethodNotAllowed())
        return refused
    if error.detail == UNREADABLE_JSON:
        return error_response(
            "InvalidRequest",
            "the body is no JSON that can be read: nested too deeply, a number of thousands of"
            " digits, or not UTF-8",
            422,
        )
    names = {404: "NotFound", 413: "BodyTooLarge"}
    return error_response(
        names.get(error.status_code, "HttpError"), str(error.detail), error.status_code
    )


def unexpected_response(path: str, error: Exception) -> Response:
    """Answer 500, and log what it was: where in the code, and never with a value of the request."""
    log("http").error("unexpected", path=path, error=type(error).__name__, exc_info=error)
    return error_response(
        "InternalError", "something broke on our side; the log of this service says what", 500
    )


EXCEPTION_HANDLERS: dict[
    int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]
] = {
    RatchetError: _expected,
    RequestValidationError: _invalid,
    HTTPException: _http,
}

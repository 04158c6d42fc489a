"""Errors in OpenAI's shape, so that its clients raise the exception that is meant."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from services.router.chat import error_body, error_code
from shared.errors import RatchetError
from shared.telemetry import log


class OpenAIRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await original(request)
            except RatchetError as error:
                return _failed(
                    str(error),
                    error.status,
                    getattr(error, "param", None),
                    error_code(error),
                    error.retry_after,
                )
            except RequestValidationError as error:
                return _failed(str(error.errors()[0]["msg"]), 400)
            except HTTPException as error:
                return _failed(str(error.detail), error.status_code)
            # An app must get JSON whatever happened.
            except Exception as error:  # noqa: BLE001
                log("http").error(
                    "unexpected", path=request.url.path, error=type(error).__name__, exc_info=error
                )
                return _failed(
                    "something broke on our side; the router's log says what",
                    500,
                    code="internal_error",
                )

        return handler


def _failed(
    message: str,
    status: int,
    param: str | None = None,
    code: str | None = None,
    retry_after: int | None = None,
) -> Response:
    headers = {"retry-after": str(retry_after)} if retry_after else None
    return JSONResponse(error_body(message, status, param, code), status, headers)

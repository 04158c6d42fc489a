"""Errors in OpenAI's shape, so that its clients raise the exception that is meant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from services.router.openai_errors import INTERNAL, body_of, error_body
from shared.errors import RatchetError
from shared.http import Principal, as_response, holder, problems_of
from shared.telemetry import log

# Ours, with the errors of all services.
OWN_PATHS = ("/v1/routes", "/v1/inferences")


Endpoint = Callable[[Request, Principal], Awaitable[Response]]


class OpenAIRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await answered(request.url.path, original(request))

        return handler


def direct(endpoint: Endpoint) -> ASGIApp:
    """Make of an endpoint, which takes the request and who sent it, an application of its own."""

    async def checked(request: Request) -> Response:
        return await endpoint(request, holder(request, "infer"))

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        response = await answered(scope["path"], checked(Request(scope, receive)))
        await response(scope, receive, send)

    return application


async def answered(path: str, answering: Awaitable[Response]) -> Response:
    """Return the answer, or the error that came of it."""
    try:
        return await answering
    except RatchetError as error:
        return refusal(path, error)
    except RequestValidationError as error:
        return _failed(problems_of(error)[0], 400)
    except HTTPException as error:
        return _failed(str(error.detail), error.status_code)
    # The door knows that nobody is there to be answered.
    except ClientDisconnect:
        raise
    # An app must get JSON whatever happened.
    except Exception as error:  # noqa: BLE001
        log("http").error("unexpected", path=path, error=type(error).__name__, exc_info=error)
        return JSONResponse(INTERNAL, 500)


def refusal(path: str, error: RatchetError) -> Response:
    """Render what the door refuses: OpenAI's shape where OpenAI's clients call."""
    return _refused(error) if is_openais(path) else as_response(path, error)


def is_openais(path: str) -> bool:
    """Say whether OpenAI's clients call such an address."""
    return path.startswith("/v1/") and not path.startswith(OWN_PATHS)


def _refused(error: RatchetError) -> Response:
    headers = {"retry-after": str(error.retry_after)} if error.retry_after else None
    return JSONResponse(body_of(error), error.status, headers)


def _failed(message: str, status: int) -> Response:
    return JSONResponse(error_body(message, status), status)

"""Errors as OpenAI's clients understand them."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.base import JsonObject
from shared.errors import Invalid, NotFound, RatchetError

# OpenAI's `type` of an error, by status; else "server_error" or "invalid_request_error".
ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
# Where OpenAI's clients know a code of their own.
CODES = {
    "RouteNotServed": "model_not_found",
    "Unauthenticated": "invalid_api_key",
    "ContextTooLong": "context_length_exceeded",
    "NoEmbeddings": "model_not_found",
}
MOST_NAMED = 10


class BadRequest(Invalid):
    """A request we understand and refuse; `param` is the field that is at fault."""

    status = 400

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class RouteNotServed(NotFound):
    """Raised for another tenant's routes too: whether they exist is not the caller's business."""

    def __init__(self, model: str, known: Sequence[str] = ()) -> None:
        """Make the error; `known` are models that the caller may ask for instead."""
        super().__init__(
            f"no route '{model[:100]}' for this key; GET /v1/models lists yours, 'ratchet routes"
            " create FILE' adds one"
            + (f"; there are {', '.join(known[:MOST_NAMED])}" if known else "")
        )
        self.param = "model"


def error_body(
    message: str, status: int, param: str | None = None, code: str | None = None
) -> JsonObject:
    kind = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_code(error: RatchetError) -> str:
    """Return the error's name in snake case, or OpenAI's own code where its clients know one."""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in error.name).lstrip("_")
    return CODES.get(error.name, snake)


INTERNAL = error_body(
    "something broke on our side; the router's log says what", 500, code="internal_error"
)


def body_of(error: RatchetError) -> JsonObject:
    return error_body(str(error), error.status, getattr(error, "param", None), error_code(error))

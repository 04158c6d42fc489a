"""How a question to vLLM may fail."""

from __future__ import annotations

import re

from aiohttp import ClientConnectorError, ConnectionTimeoutError
from pydantic_core import from_json

from shared.errors import RatchetError
from shared.rules.questions import NotReached

# Nobody was reached, so that nothing was asked.
UNREACHED = (ClientConnectorError, ConnectionTimeoutError, NotReached)
REFUSALS = (400, 413, 422)
# Retry-After in seconds; a date is not read.
WAIT = re.compile(r"[0-9]{1,5}")


class VllmError(RatchetError):
    """vLLM did not do what it was asked: each service says what follows from it."""


class VllmAway(VllmError):
    """Nobody answered, or not in time."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(type(cause).__name__)
        self.reached = not isinstance(cause, UNREACHED)


class VllmFailed(VllmError):
    """It answered with an error that is neither a refusal nor a missing model."""

    def __init__(self, code: int, detail: str, retry_after: int | None = None) -> None:
        """Make the error of an HTTP status; `retry_after` (seconds) is what the server said."""
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


class RequestRefused(VllmError):
    """The request itself is at fault, for example too long for the model."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ModelNotServed(VllmError):
    """It does not hold that model: it restarted and forgot its adapters, or never loaded it."""

    def __init__(self, model: str, detail: str) -> None:
        super().__init__(detail)
        self.model = model
        self.detail = detail


class NotACompletion(VllmError):
    """Something answered that does not speak as vLLM does, or left out what must be there."""

    def __init__(self, cause: BaseException) -> None:
        why = str(cause) if type(cause) is ValueError else type(cause).__name__
        super().__init__(f"it is not an OpenAI-compatible completion with logprobs ({why})")


def failure(status: int, said: bytes, retry_after: str, model: str) -> VllmError:
    detail = error_detail(said)
    if status == 404:
        return ModelNotServed(model, detail)
    if status in REFUSALS:
        return RequestRefused(detail)
    return VllmFailed(status, detail, int(retry_after) if WAIT.fullmatch(retry_after) else None)


def error_detail(said: bytes) -> str:
    """Return what the server says in OpenAI's shape of an error, else the start of its text."""
    try:
        return str(from_json(said)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return said[:300].decode("utf-8", "replace")

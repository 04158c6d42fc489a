"""The error tree. Leaf errors live beside their use, take typed arguments and write their own
message.

`retryable` decides what the bus does with an event (back off, or dead-letter it), `status` what
HTTP answers.
"""

from __future__ import annotations

from typing import ClassVar


class RatchetError(Exception):
    """Expected trouble, with a message that says what to do next."""

    retryable: ClassVar[bool] = False
    status: ClassVar[int] = 500
    # Seconds.
    retry_after: int | None = None

    @property
    def name(self) -> str:
        return type(self).__name__


class Retryable(RatchetError):
    """Something we depend on is away: the same attempt may pass later."""

    retryable = True
    status = 503
    retry_after = 5


class NotFound(RatchetError):
    status = 404


class Invalid(RatchetError):
    status = 422


class Conflict(RatchetError):
    status = 409


class Fatal(RatchetError):
    """State is corrupt: stop the process and let the supervisor restart it."""


class JobFailed(RatchetError):
    """The work cannot succeed by trying again (bad data, bad recipe): the message is stored."""

"""Named places at which a fault test kills, stops or fails this very process.

Armed only by code inside the process (the fault suite forks services and arms them in the child),
never by a setting or a request: in production nothing is armed, and passing one costs a look at an
empty dictionary.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import Literal

Action = Literal["kill", "stop", "error"]
POINTS = (
    "commit.before",
    "commit.after",  # any database transaction: of a request, a handler, a job, the relay
    "handler.before-effect",
    "handler.before-commit",
    "handler.after-commit",  # an event: in the inbox; done; committed, not acknowledged
    "relay.before-send",
    "relay.after-send",
    "relay.after-mark",  # an outbox batch: chosen; acknowledged by the log; marked
    "job.claimed",
    "job.before-finish",
    "job.after-finish",
    "blob.half-written",
    "blob.before-promote",
)

_armed: dict[str, tuple[Action, int]] = {}


def arm(name: str, action: Action, nth: int = 1) -> None:
    """Act when `name` is reached the nth time from now."""
    if name not in POINTS:
        raise ValueError(f"no failpoint '{name}'; there are {', '.join(POINTS)}")
    _armed[name] = (action, nth)


def disarm() -> None:
    _armed.clear()


def reach(name: str) -> None:
    if not _armed or name not in _armed:
        return
    action, left = _armed.pop(name)
    if left > 1:
        _armed[name] = (action, left - 1)
    elif action == "error":
        raise OSError(errno.ENOSPC, f"failpoint {name}")
    else:
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)

"""Lets aiokafka survive a connection that closed under it.

It expects an OSError from a write to a closed connection; uvloop raises a RuntimeError. That one
ended the task which keeps a client's metadata, silently, and its consumer then waited for metadata
for ever: alive, and never in its group again. Seen about once in eight times that a log was killed
three times; probably what aiokafka #1154 reports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

from shared.events.wrapping import wrap_once


def survive_closed_connections() -> None:
    wrap_once(AIOKafkaConnection, "send", surviving)


def surviving(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: AIOKafkaConnection, *request: Any, **options: Any) -> Any:
        try:
            return original(self, *request, **options)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(
                f"Connection at {self.host}:{self.port} is closed"
            ) from error

    return send

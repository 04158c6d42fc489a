"""Answers as server-sent events. An answer is judged whole before any of it is given, so that a
stream begins when the answer is trusted: comments keep the connection open until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from services.router.answers import ChatAnswer, completion_headers
from services.router.leaving import cancelled, ends_unless_left
from services.router.openai_errors import INTERNAL, body_of
from services.router.shapes import Shape
from shared.describing import describe
from shared.errors import RatchetError
from shared.telemetry import log

# Proxies close a response that is silent for 30 to 60 s, some for 15.
COMMENT_SECONDS = 10.0
COMMENT = b": the answer is being judged\n\n"
EVENTS = "text/event-stream"
# nginx would gather the stream before it passes it on.
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def stream(
    request: Request, answering: asyncio.Task[ChatAnswer], shape: Shape, with_usage: bool
) -> Response:
    """Answer with a stream. What goes wrong before its first comment is an error like any other."""
    if await ends_unless_left(request, answering, COMMENT_SECONDS):
        answered = answering.result()
        return Response(
            shape.events(answered, with_usage),
            media_type=EVENTS,
            headers={**HEADERS, **completion_headers(answered)},
        )
    waiting = patient(answering, shape, with_usage)
    return StreamingResponse(waiting, media_type=EVENTS, headers=HEADERS)


async def patient(
    answering: asyncio.Task[ChatAnswer], shape: Shape, with_usage: bool
) -> AsyncIterator[bytes]:
    """Yield comments until the answer is there. Closed before that, it stops the question."""
    try:
        while not answering.done():
            yield COMMENT
            await asyncio.wait({answering}, timeout=COMMENT_SECONDS)
        yield outcome_of(answering, shape, with_usage)
    finally:
        await cancelled(answering)


def outcome_of(answering: asyncio.Task[ChatAnswer], shape: Shape, with_usage: bool) -> bytes:
    """Render an answer, or the error in its place: the status has been sent."""
    try:
        return shape.events(answering.result(), with_usage)
    except RatchetError as error:
        return shape.failure(body_of(error))
    # An app must hear of it whatever happened.
    except Exception as error:  # noqa: BLE001
        log("http").error("unexpected", path="a stream", error=describe(error), exc_info=error)
        return shape.failure(INTERNAL)

"""Answers as server-sent events. A stream begins when its answer has been judged as a whole, or on
live routes with its first token; comments keep the connection open until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from services.router.answers import ChatAnswer, completion_headers
from services.router.chat import ChatQuestion
from services.router.leaving import cancelled, ends_unless_left
from services.router.live import Live
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
    request: Request,
    answering: asyncio.Task[ChatAnswer],
    shape: Shape,
    asked: ChatQuestion,
    live: Live,
) -> Response:
    """Answer with a stream. What goes wrong before its first event is an error like any other."""
    if await ends_unless_left(request, answering, COMMENT_SECONDS, live.begun):
        answered = answering.result()
        return Response(
            whole(answered, shape, asked),
            media_type=EVENTS,
            headers={**HEADERS, **completion_headers(answered)},
        )
    known = {"x-ratchet-inference-id": live.inference_id} if live.has_begun else {}
    waiting = patient(answering, shape, asked, live)
    return StreamingResponse(waiting, media_type=EVENTS, headers=HEADERS | known)


async def patient(
    answering: asyncio.Task[ChatAnswer], shape: Shape, asked: ChatQuestion, live: Live
) -> AsyncIterator[bytes]:
    """Yield comments until the answer is there or begins. Closed before its end, it stops the
    question.
    """
    try:
        while not (answering.done() or live.begun.done()):
            yield COMMENT
            either: set[asyncio.Future[Any]] = {answering, live.begun}
            await asyncio.wait(either, timeout=COMMENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if live.has_begun:
            async for told in pieces(answering, shape, asked, live):
                yield told
        else:
            yield outcome_of(answering, shape, lambda answered: whole(answered, shape, asked))
    finally:
        await cancelled(answering)


def whole(answered: ChatAnswer, shape: Shape, asked: ChatQuestion) -> bytes:
    telling = shape.telling(answered.inference_id, answered.route, asked.wishes)
    return shape.written(telling.whole(answered)) + shape.ending


async def pieces(
    answering: asyncio.Task[ChatAnswer], shape: Shape, asked: ChatQuestion, live: Live
) -> AsyncIterator[bytes]:
    """Yield an answer as it comes, and the verdict on it."""
    telling = shape.telling(live.inference_id, asked.route, asked.wishes)
    yield shape.written(telling.begin())
    answering.add_done_callback(lambda _: live.pieces.put_nowait(None))
    while True:
        try:
            async with asyncio.timeout(COMMENT_SECONDS):
                piece = await live.pieces.get()
        except TimeoutError:
            yield COMMENT
            continue
        if piece is None:
            break
        yield shape.written(telling.piece(piece))
    yield outcome_of(
        answering,
        shape,
        lambda answered: shape.written(telling.end(answered)) + shape.ending,
    )


def outcome_of(
    answering: asyncio.Task[ChatAnswer], shape: Shape, told: Callable[[ChatAnswer], bytes]
) -> bytes:
    """Render what became of a question: the status has been sent."""
    try:
        return told(answering.result())
    except RatchetError as error:
        return shape.failure(body_of(error))
    # An app must hear of it whatever happened.
    except Exception as error:  # noqa: BLE001
        log("http").error("unexpected", path="a stream", error=describe(error), exc_info=error)
        return shape.failure(INTERNAL)

"""The same request sent again: under the key that an app gave it, it gets the answer of the first.

An answer lives in memory as it was given, and in the database as it was recorded: redacted. After a
restart a repeat gets it where redaction changed nothing; else it is told which inference it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from services.router.answers import ChatAnswer
from services.router.openai_errors import BadRequest
from services.router.store.repeats import RepeatStore
from shared.clock import hourly
from shared.errors import Conflict
from shared.http import Principal
from shared.storage import Database

KEPT_SECONDS = 86_400.0
MOST_IN_MEMORY = 10_000
MOST_CHARACTERS = 255

Asking = Callable[["Repeatable"], Coroutine[Any, Any, ChatAnswer]]


class KeyReused(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key came with another request within a day: give each request a key"
            " of its own"
        )


class AnswerNotKept(Conflict):
    def __init__(self, inference_id: str) -> None:
        super().__init__(
            f"this request was answered as inference {inference_id}, and its answer is kept"
            f" redacted only: GET /v1/inferences/{inference_id} shows that"
        )


@dataclass(frozen=True)
class Repeatable:
    """A request that may come again."""

    # SHA-256 of application and key, and of door and body.
    key: str
    request: str

    @classmethod
    def of(cls, given: str, caller: Principal, path: str, body: bytes) -> Repeatable:
        """Raises BadRequest for a key that is none."""
        if not (0 < len(given) <= MOST_CHARACTERS and given.isprintable()):
            raise BadRequest(f"Idempotency-Key: 1 to {MOST_CHARACTERS} printable characters")
        owner = f"{caller.tenant}\0{caller.application}\0{given}"
        request = hashlib.sha256(path.encode() + b"\0" + body).hexdigest()
        return cls(hashlib.sha256(owner.encode()).hexdigest(), request)


@dataclass(frozen=True)
class Known:
    request: str
    answering: asyncio.Task[ChatAnswer]
    at: float


@dataclass
class Repeats:
    """Answers by key, for a day; in memory those of the last 10,000 keys."""

    db: Database
    store: RepeatStore
    _known: OrderedDict[str, Known] = field(default_factory=OrderedDict)

    async def answer(self, sent: Repeatable, ask: Asking) -> ChatAnswer:
        """Return the answer: of the request before, if one came.

        It is worked on where its caller leaves: the repeat wants it. Raises KeyReused and
        AnswerNotKept.
        """
        known = self._fresh(sent.key)
        if known is None:
            earlier = asyncio.create_task(self._earlier_or_new(sent, ask))
            known = self._known[sent.key] = Known(sent.request, earlier, time.monotonic())
            earlier.add_done_callback(lambda done: self._forget_failed(sent.key, done))
            while len(self._known) > MOST_IN_MEMORY:
                self._known.popitem(last=False)
        if known.request != sent.request:
            raise KeyReused
        return await asyncio.shield(known.answering)

    def _fresh(self, key: str) -> Known | None:
        known = self._known.get(key)
        return known if known and time.monotonic() - known.at < KEPT_SECONDS else None

    def _forget_failed(self, key: str, done: asyncio.Task[ChatAnswer]) -> None:
        """An error is no answer: the next repeat asks anew."""
        known = self._known.get(key)
        if known and known.answering is done and (done.cancelled() or done.exception()):
            del self._known[key]

    async def _earlier_or_new(self, sent: Repeatable, ask: Asking) -> ChatAnswer:
        async with self.db.read() as connection:
            earlier = await self.store.find(connection, sent.key, time.time() - KEPT_SECONDS)
        if earlier is None:
            return await ask(sent)
        if earlier.request != sent.request:
            raise KeyReused
        if earlier.answer is None:
            raise AnswerNotKept(earlier.inference_id)
        return earlier.answer

    async def tidy(self) -> None:
        """Forget old keys once an hour, until cancelled."""
        await hourly(lambda: self.store.forget(self.db, time.time() - KEPT_SECONDS))

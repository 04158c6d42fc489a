"""Served requests on disk before the app has its answer, many of them in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from pydantic import BaseModel
from pydantic_core import to_json
from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Attempt, uuid7
from schemas.events import InferenceRecorded
from schemas.route import Durability
from services.router.served import Served, Unanswered
from services.router.store.repeats import RepeatStore
from shared.clock import now
from shared.events import Outbox, rendered
from shared.privacy import Redact, both_ways
from shared.rules import (
    characters_of,
    cleaned,
    cleaned_answer,
    cleaned_record,
    cleaned_tools,
    fits_in_event,
    store_content,
)
from shared.storage import BlobStore, Database, GroupCommit, insert_many

Part = TypeVar("Part", bound=BaseModel)
# Redacting more characters than this takes over a millisecond: not on the event loop.
SLOW_CHARACTERS = 20_000
SHORT_CHARACTERS = 4096
COLUMNS = ("inference_id", "tenant", "route", "picked", "failed", "at", "event")


class Recorder:
    """Redacts what was asked and answered, and stores it with its events."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        table: Table,
        repeats: RepeatStore,
        blobs: BlobStore,
        redacting: Callable[[str, str], Redact],
    ) -> None:
        self.db = db
        self.outbox = outbox
        self.table = table
        self.repeats = repeats
        self.blobs = blobs
        # By route and inference.
        self.redacting = redacting
        self._group: GroupCommit[Served] = GroupCommit(db, self._write)

    async def check_room(self) -> None:
        """Raise BacklogFull when so much waits for the event log that no more may be taken."""
        await self.outbox.backlog.check(self.db)

    async def record(self, served: Served, durability: Durability) -> None:
        """Return when the request and its events are durable, or will be soon.

        They are kept also where the caller leaves meanwhile: the answer is there, and was paid for.
        Raises DatabaseBehind where too many wait to be.
        """
        size = len(served.inference.answer)
        size += characters_of(served.inference.messages)
        if size > SLOW_CHARACTERS or served.inference.tools:
            await asyncio.shield(self._record_large(served, durability))
        else:
            await self._keep(served, self._clean(served.inference), durability)

    async def flush(self) -> None:
        """Return when nothing waits to be stored any more."""
        await self._group.flush()

    async def _record_large(self, served: Served, durability: Durability) -> None:
        inference = await asyncio.to_thread(self._clean, served.inference)
        await self._keep(served, inference, durability)

    async def _keep(
        self, served: Served, inference: InferenceRecorded, durability: Durability
    ) -> None:
        repeat = served.repeat
        if repeat:
            repeat = replace(repeat, is_whole=is_as_given(inference, served.inference))
        kept = replace(served, inference=inference, repeat=repeat)
        # Who repeats a request may do so at once, and must find it.
        if durability == "strict" or repeat:
            await self._group.commit(kept)
        else:
            self._group.commit_later(kept)

    async def record_unanswered(self, lost: Unanswered) -> None:
        """Count a request without an answer; nothing is published of it."""
        row = {
            "inference_id": uuid7(),
            "tenant": lost.tenant,
            "route": lost.route,
            "picked": lost.picked,
            "failed": lost.failed,
            "at": now().timestamp(),
            "event": None,
        }
        async with self.db.transaction() as tx:
            await tx.execute(insert(self.table).values(row))

    def _clean(self, inference: InferenceRecorded) -> InferenceRecorded:
        """Redact an inference, and put what is too large for an event into the artifact store."""
        redact = self.redacting(inference.route, inference.inference_id)
        redacted = both_ways(lambda: redacted_by(redact, inference), redact)
        others = [text for one in redacted.attempts for text in texts_of(one)]
        if redacted.tools:
            others.append(to_json(redacted.tools).decode())
        if fits_in_event(redacted.messages, redacted.answer, others):
            return redacted
        content = store_content(self.blobs, redacted.messages, redacted.answer, redacted.tools)
        return redacted.model_copy(
            update={
                "messages": (),
                "answer": "",
                "tools": (),
                "content": content,
                "attempts": tuple(map(without_long_answer, redacted.attempts)),
            }
        )

    async def _write(self, tx: AsyncConnection, batch: list[Served]) -> None:
        events = [rendered(served.inference, self.outbox.service) for served in batch]
        rows = [
            (
                served.inference.inference_id,
                served.inference.tenant,
                served.inference.route,
                served.picked,
                served.failed,
                served.inference.occurred_at.timestamp(),
                event.payload.decode(),
            )
            for served, event in zip(batch, events, strict=True)
        ]
        await insert_many(tx, self.table, COLUMNS, rows)
        for served in batch:
            if served.repeat:
                await self.repeats.add(tx, served.repeat)
            if served.review:
                events.append(rendered(served.review, self.outbox.service))
        await self.outbox.add_rendered(tx, events)


def redacted_by(redact: Redact, inference: InferenceRecorded) -> InferenceRecorded:
    redact_answer = partial(cleaned_answer, redact=redact) if inference.tools else redact
    return changed(
        inference,
        messages=cleaned(inference.messages, redact),
        answer=redact_answer(inference.answer),
        tools=cleaned_tools(inference.tools, redact),
        metadata=cleaned_record(inference.metadata, redact),
        attempts=tuple(
            changed(
                attempt,
                answer=redact_answer(attempt.answer),
                alternatives=tuple(map(redact_answer, attempt.alternatives)),
                thought=redact(attempt.thought),
            )
            for attempt in inference.attempts
        ),
    )


def changed(value: Part, **fields: object) -> Part:
    """Return a value with other fields; itself where they are what they were, as mostly."""
    others = {name: new for name, new in fields.items() if getattr(value, name) != new}
    return value.model_copy(update=others) if others else value


def is_as_given(kept: InferenceRecorded, given: InferenceRecorded) -> bool:
    """Say whether the recorded answers are those that the app got."""
    whole = (kept.content, kept.answer, kept.attempts, kept.tools)
    return whole == (None, given.answer, given.attempts, given.tools)


def without_long_answer(attempt: Attempt) -> Attempt:
    """Return an attempt that an event can carry: its answers stay where they are as short as a
    label.

    The monitors compare what a champion said, also where the app got another answer.
    """
    if sum(map(len, texts_of(attempt))) <= SHORT_CHARACTERS:
        return attempt
    return attempt.model_copy(update={"answer": "", "alternatives": (), "thought": ""})


def texts_of(attempt: Attempt) -> tuple[str, ...]:
    return (attempt.answer, *attempt.alternatives, attempt.thought)

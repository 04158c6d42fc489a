"""Served requests on disk before the app has its answer, many of them in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Attempt, Message, uuid7
from schemas.events import InferenceRecorded
from services.router.served import Served, Unanswered
from services.router.store.repeats import RepeatStore
from shared.clock import now
from shared.events import Outbox
from shared.rules import fits_in_event, store_content
from shared.storage import BlobStore, Database, GroupCommit

# Redacting more characters than this takes over a millisecond: not on the event loop.
SLOW_CHARACTERS = 20_000
SHORT_CHARACTERS = 4096


class Recorder:
    """Redacts what was asked and answered, and stores it with its events."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        table: Table,
        repeats: RepeatStore,
        blobs: BlobStore,
        redact: Callable[[str], str],
    ) -> None:
        self.db = db
        self.outbox = outbox
        self.table = table
        self.repeats = repeats
        self.blobs = blobs
        self.redact = redact
        self._group: GroupCommit[Served] = GroupCommit(db, self._write)

    async def check_room(self) -> None:
        """Raise BacklogFull when so much waits for the event log that no more may be taken."""
        await self.outbox.backlog.check(self.db)

    async def record(self, served: Served) -> None:
        """Return when the request and its events are durable."""
        size = len(served.inference.answer)
        size += sum(len(message.content) for message in served.inference.messages)
        inference = (
            await asyncio.to_thread(self._clean, served.inference)
            if size > SLOW_CHARACTERS
            else self._clean(served.inference)
        )
        repeat = served.repeat
        if repeat:
            repeat = replace(repeat, is_whole=is_as_given(inference, served.inference))
        await self._group.commit(replace(served, inference=inference, repeat=repeat))

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
        redacted = inference.model_copy(
            update={
                "messages": tuple(
                    Message(role=m.role, content=self.redact(m.content)) for m in inference.messages
                ),
                "answer": self.redact(inference.answer),
                "metadata": {key: self.redact(value) for key, value in inference.metadata.items()},
                "attempts": tuple(
                    a.model_copy(update={"answer": self.redact(a.answer)})
                    for a in inference.attempts
                ),
            }
        )
        answers = [attempt.answer for attempt in redacted.attempts]
        if fits_in_event(redacted.messages, redacted.answer, answers):
            return redacted
        content = store_content(self.blobs, redacted.messages, redacted.answer)
        return redacted.model_copy(
            update={
                "messages": (),
                "answer": "",
                "content": content,
                "attempts": tuple(map(without_long_answer, redacted.attempts)),
            }
        )

    async def _write(self, tx: AsyncConnection, batch: list[Served]) -> None:
        await tx.execute(
            insert(self.table),
            [
                {
                    "inference_id": served.inference.inference_id,
                    "tenant": served.inference.tenant,
                    "route": served.inference.route,
                    "picked": served.picked,
                    "failed": served.failed,
                    "at": served.inference.occurred_at.timestamp(),
                    "event": served.inference.model_dump_json(),
                }
                for served in batch
            ],
        )
        for served in batch:
            if served.repeat:
                await self.repeats.add(tx, served.repeat)
        await self.outbox.add(
            tx, *(event for served in batch for event in (served.inference, served.review) if event)
        )


def is_as_given(kept: InferenceRecorded, given: InferenceRecorded) -> bool:
    """Say whether the recorded answers are those that the app got."""
    return (kept.content, kept.answer, kept.attempts) == (None, given.answer, given.attempts)


def without_long_answer(attempt: Attempt) -> Attempt:
    """Return an attempt that an event can carry: its answer stays where it is as short as a label.

    The monitors compare what a champion said, also where the app got another answer.
    """
    if len(attempt.answer) <= SHORT_CHARACTERS:
        return attempt
    return attempt.model_copy(update={"answer": ""})

"""Decisions on disk before the app has its answer: redacted, with their events, many requests in
one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic_core import to_json
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Message
from schemas.events import InferenceRecorded
from services.router.ports import Decision
from services.router.store.tables import Tables
from shared.events.outbox import Outbox
from shared.storage.blobs import BlobStore
from shared.storage.db import Database
from shared.storage.group_commit import GroupCommit

INLINE_BYTES = 256 * 1024  # what an event may carry; more goes to the artifact store
SLOW_CHARACTERS = 20_000  # redacting more than this takes over a millisecond: not on the event loop


class DecisionRecorder:
    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        tables: Tables,
        blobs: BlobStore,
        redact: Callable[[str], str],
    ) -> None:
        self.outbox = outbox
        self.table = tables.decisions
        self.blobs = blobs
        self.redact = redact
        self._group: GroupCommit[Decision] = GroupCommit(db, self._write)

    async def record(self, decision: Decision) -> None:
        size = sum(len(message.content) for message in decision.inference.messages)
        inference = (
            await asyncio.to_thread(self._clean, decision.inference)
            if size > SLOW_CHARACTERS
            else self._clean(decision.inference)
        )
        await self._group.commit(
            Decision(inference, decision.review, decision.picked, decision.failed)
        )

    def _clean(self, inference: InferenceRecorded) -> InferenceRecorded:
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
        if (
            sum(len(m.content.encode()) for m in redacted.messages) + len(redacted.answer.encode())
            <= INLINE_BYTES
        ):
            return redacted
        content = to_json({"messages": redacted.messages, "answer": redacted.answer})
        return redacted.model_copy(
            update={
                "messages": (),
                "answer": "",
                "content": self.blobs.put_bytes(content, "content", ".json"),
            }
        )

    async def _write(self, tx: AsyncConnection, decisions: list[Decision]) -> None:
        await tx.execute(
            insert(self.table),
            [
                {
                    "inference_id": d.inference.inference_id,
                    "tenant": d.inference.tenant,
                    "route": d.inference.route,
                    "picked": d.picked,
                    "failed": d.failed,
                    "at": d.inference.occurred_at.timestamp(),
                    "event": d.inference.model_dump_json(),
                }
                for d in decisions
            ],
        )
        await self.outbox.add(
            tx, *(event for d in decisions for event in (d.inference, d.review) if event)
        )

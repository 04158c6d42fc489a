"""Which requests were answered under which key, and by which inference."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import InferenceRecorded
from services.router.answers import ChatAnswer
from services.router.served import KeptRepeat
from shared.errors import Conflict
from shared.storage import Database, delete_in_chunks, insert_once


class AnsweredElsewhere(Conflict):
    """Two processes answered one request at the same moment; the other one's answer counts."""

    retryable = True

    def __init__(self) -> None:
        super().__init__("another process answered this request at the same moment: send it again")


@dataclass(frozen=True)
class Earlier:
    request: str
    inference_id: str
    # None where it was kept otherwise than it was given.
    answer: ChatAnswer | None


@dataclass(frozen=True)
class RepeatStore:
    repeats: Table
    decisions: Table

    async def add(self, tx: AsyncConnection, kept: KeptRepeat) -> None:
        """Raises AnsweredElsewhere where the key is taken."""
        row = {
            "key": kept.key,
            "request": kept.request,
            "inference_id": kept.inference_id,
            "is_whole": kept.is_whole,
            "finish_reason": kept.finish_reason,
            "tool": kept.tool,
            "at": kept.at,
        }
        if not await insert_once(tx, self.repeats, row):
            raise AnsweredElsewhere

    async def find(self, connection: AsyncConnection, key: str, since: float) -> Earlier | None:
        """Return what was answered under a key since then (seconds since the epoch)."""
        table = self.repeats
        joined = select(table, self.decisions.c.event).join(
            self.decisions, self.decisions.c.inference_id == table.c.inference_id
        )
        wanted = joined.where(table.c.key == key, table.c.at >= since)
        row = (await connection.execute(wanted)).first()
        if row is None:
            return None
        event = InferenceRecorded.model_validate_json(row.event)
        answer = as_given(event, row.finish_reason, row.tool) if row.is_whole else None
        return Earlier(row.request, row.inference_id, answer)

    async def forget(self, db: Database, before: float) -> int:
        """Delete what is older; return how many keys that were."""
        table = self.repeats
        return await delete_in_chunks(db, table, table.c.at < before, table.c.at)


def as_given(event: InferenceRecorded, finish_reason: str, tool: str | None) -> ChatAnswer:
    """Return a recorded answer as the app had it; its log-probabilities were not kept."""
    chosen = next(
        attempt
        for attempt in event.attempts
        if (attempt.arm, attempt.adapter_id) == (event.arm, event.adapter_id)
    )
    return ChatAnswer(
        inference_id=event.inference_id,
        route=event.route,
        attempt=chosen,
        outcome="unsure" if event.outcome == "external" else event.outcome,
        route_version=event.route_version or 1,
        attempts=event.attempts,
        finish_reason=finish_reason,
        notes=("this request came before: the answer is the one it had then",),
        tool=tool,
        tools=event.tools,
    )

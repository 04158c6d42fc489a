"""What the evaluator keeps of the inference, verdict and feedback streams: ids, numbers and
labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    MetaData,
    Row,
    delete,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import FeedbackRecorded, ReviewCompleted
from services.evaluator.accuracy import UNKNOWN, Judged, predicted
from services.evaluator.observed import NO_ADAPTER, AuditedVerdict, Observation, StoredObservation
from services.evaluator.store.stream_tables import (
    feedback_table,
    observations_table,
    reviews_table,
)
from shared.storage import insert_once

# Audited verdicts that an error report looks back on.
AUDITED = 2000
# Numbers in one statement: SQLite takes 32,766 parameters, as PostgreSQL does.
AT_ONCE = 10_000


class StreamStore:
    def __init__(self, metadata: MetaData) -> None:
        self.observations = observations_table(metadata)
        self.reviews = reviews_table(metadata)
        self.feedback = feedback_table(metadata)

    async def add_observation(self, tx: AsyncConnection, seen: Observation) -> None:
        await insert_once(tx, self.observations, asdict(seen))

    async def add_review(self, tx: AsyncConnection, event: ReviewCompleted) -> bool:
        """Store a verdict; return False when it was there before, under another event id: then it
        keeps the larger probability.
        """
        new = await insert_once(
            tx,
            self.reviews,
            {
                "review_id": event.review_id,
                "inference_id": event.inference_id,
                "route": event.route,
                "adapter_id": event.adapter_id,
                "arm": event.arm,
                "at": event.occurred_at.timestamp(),
                "verdict": event.verdict,
                "audit": int(event.audit),
                "probability": event.probability,
                "score": event.confidence.score if event.confidence else None,
                "withdrawn": int(event.withdrawn),
                "asked": event.asked_at.timestamp() if event.asked_at else None,
                "reason": event.reason,
                "predicted": predicted(event.confidence),
            },
        )
        if not new:
            table = self.reviews
            smaller = (
                table.c.review_id == event.review_id,
                table.c.probability < event.probability,
            )
            await tx.execute(update(table).where(*smaller).values(probability=event.probability))
        return new

    async def withdraw_review(self, tx: AsyncConnection, event: ReviewCompleted) -> bool:
        """Note that a verdict counts no longer; return whether it counted until now."""
        # Where it was not heard of, it never will count.
        await self.add_review(tx, event)
        table = self.reviews
        counts = (table.c.review_id == event.review_id, table.c.withdrawn == 0)
        return (await tx.execute(update(table).where(*counts).values(withdrawn=1))).rowcount == 1

    async def on_feedback_recorded(self, tx: AsyncConnection, event: FeedbackRecorded) -> None:
        """Keep who judged which answer how, without what they wrote."""
        await insert_once(
            tx,
            self.feedback,
            {
                "feedback_id": event.feedback_id,
                "inference_id": event.inference_id,
                "route": event.route,
                "kind": event.kind,
                "value": event.value,
                "at": event.occurred_at.timestamp(),
            },
        )

    async def after(
        self, connection: AsyncConnection, route: str, adapter_id: str, seq: int, limit: int
    ) -> list[StoredObservation]:
        """Return the next observations of a champion, in the order they arrived."""
        table = self.observations
        wanted = (
            select(table)
            .where(table.c.route == route, table.c.adapter_id == adapter_id, table.c.seq > seq)
            .order_by(table.c.seq)
            .limit(limit)
        )
        return [StoredObservation(**row) for row in (await connection.execute(wanted)).mappings()]

    async def newest(self, tx: AsyncConnection, route: str) -> int:
        """Return the number of the route's newest observation; 0 where there is none."""
        table = self.observations
        newest = select(sa.func.max(table.c.seq)).where(table.c.route == route)
        return (await tx.execute(newest)).scalar() or 0

    async def places(
        self, connection: AsyncConnection, route: str, adapter_id: str, after: int, up_to: int
    ) -> list[tuple[int, float]]:
        """Return the numbers and the times of the observations with after < seq <= up_to."""
        table = self.observations
        wanted = select(table.c.seq, table.c.at).where(
            table.c.route == route,
            table.c.adapter_id == adapter_id,
            table.c.seq > after,
            table.c.seq <= up_to,
        )
        rows = await connection.execute(wanted.order_by(table.c.seq))
        return [(row.seq, row.at) for row in rows]

    async def these(
        self, connection: AsyncConnection, numbers: Sequence[int]
    ) -> list[StoredObservation]:
        """Return observations by their numbers."""
        table = self.observations
        rows = [
            row
            for start in range(0, len(numbers), AT_ONCE)
            for row in (
                await connection.execute(
                    select(table).where(table.c.seq.in_(numbers[start : start + AT_ONCE]))
                )
            ).mappings()
        ]
        return sorted((StoredObservation(**row) for row in rows), key=lambda seen: seen.seq)

    async def forget(self, tx: AsyncConnection, numbers: Sequence[int]) -> None:
        """Delete observations by their numbers.

        Windows that were compared are not needed again: the table stays as small as a reference of
        each hour and a window.
        """
        table = self.observations
        for start in range(0, len(numbers), AT_ONCE):
            these = table.c.seq.in_(numbers[start : start + AT_ONCE])
            await tx.execute(delete(table).where(these))

    async def forget_other_adapters(self, tx: AsyncConnection, route: str, adapter_id: str) -> None:
        table = self.observations
        await tx.execute(
            delete(table).where(table.c.route == route, table.c.adapter_id != adapter_id)
        )

    async def labelled(self, connection: AsyncConnection, route: str, since: float) -> int:
        """Count the audited verdicts that were given since then."""
        table = self.reviews
        counted = (
            select(sa.func.count())
            .select_from(table)
            .where(
                table.c.route == route,
                table.c.at >= since,
                table.c.audit == 1,
                table.c.withdrawn == 0,
            )
        )
        return (await connection.execute(counted)).scalar_one()

    async def judged(
        self,
        connection: AsyncConnection,
        route: str,
        since: float,
        until: float | None = None,
        reason: str | None = None,
    ) -> list[tuple[str, str, Judged]]:
        """Return the verdicts on answers that were given since then, with arm and adapter."""
        table = self.reviews
        wanted = select(
            table.c.arm, table.c.adapter_id, table.c.verdict, table.c.probability, table.c.predicted
        ).where(table.c.route == route, table.c.asked >= since, table.c.withdrawn == 0)
        if until is not None:
            wanted = wanted.where(table.c.asked < until)
        if reason is not None:
            wanted = wanted.where(table.c.reason == reason)
        return [
            (
                row.arm,
                row.adapter_id or NO_ADAPTER,
                as_judged(row.verdict, row.predicted, row.probability),
            )
            for row in await connection.execute(wanted)
        ]

    async def audited(self, connection: AsyncConnection, route: str) -> list[AuditedVerdict]:
        """Return the newest audited verdicts on a route's answers, oldest first."""
        table = self.reviews
        newest = (
            select(table.c.at, table.c.verdict, table.c.score)
            .where(table.c.route == route, table.c.audit == 1, table.c.withdrawn == 0)
            .order_by(table.c.at.desc())
            .limit(AUDITED)
        )
        rows = (await connection.execute(newest)).all()
        return [as_audited(row) for row in reversed(rows)]

    async def counted(
        self, tx: AsyncConnection, event: ReviewCompleted, newest: int, adapter_id: str | None
    ) -> dict[str, bool]:
        """Return a route's newest audited verdicts, or those on a champion's own answers, oldest
        first: whether each called it wrong, by review id. The one that `event` withdraws is among
        them.
        """
        table = self.reviews
        wanted = (
            select(table.c.review_id, table.c.verdict)
            .where(
                table.c.route == event.route,
                table.c.audit == 1,
                (table.c.withdrawn == 0) | (table.c.review_id == event.review_id),
            )
            .order_by(table.c.at.desc(), table.c.review_id.desc())
            .limit(newest)
        )
        if adapter_id is not None:
            wanted = wanted.where(table.c.adapter_id == adapter_id, table.c.arm == "champion")
        rows = (await tx.execute(wanted)).all()
        return {row.review_id: row.verdict != "approved" for row in reversed(rows)}


def as_judged(verdict: str, said: float | None, probability: float) -> Judged:
    return Judged(verdict == "approved", UNKNOWN if said is None else said, probability)


def as_audited(row: Row[Any]) -> AuditedVerdict:
    return AuditedVerdict(at=row.at, right=row.verdict == "approved", score=row.score or 0.0)

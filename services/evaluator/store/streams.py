"""What the evaluator keeps of the inference, verdict and feedback streams: ids, numbers and
labels.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    delete,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import FeedbackRecorded, ReviewCompleted
from services.evaluator.observed import AuditedVerdict, Observation, StoredObservation
from shared.storage import insert_once

# Audited verdicts that an error report looks back on.
AUDITED = 2000


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

    async def forget(
        self, tx: AsyncConnection, route: str, adapter_id: str, after: int, up_to: int
    ) -> None:
        """Delete observations with after < seq <= up_to.

        Windows that were compared are not needed again: the table stays as small as a reference
        and a window.
        """
        table = self.observations
        await tx.execute(
            delete(table).where(
                table.c.route == route,
                table.c.adapter_id == adapter_id,
                table.c.seq > after,
                table.c.seq <= up_to,
            )
        )

    async def forget_other_adapters(self, tx: AsyncConnection, route: str, adapter_id: str) -> None:
        table = self.observations
        await tx.execute(
            delete(table).where(table.c.route == route, table.c.adapter_id != adapter_id)
        )

    async def audited(
        self, connection: AsyncConnection, route: str, adapter_id: str
    ) -> list[AuditedVerdict]:
        """Return the newest audited verdicts on a champion's answers, oldest first."""
        table = self.reviews
        newest = (
            select(table.c.at, table.c.verdict, table.c.score)
            .where(
                table.c.route == route,
                table.c.adapter_id == adapter_id,
                table.c.audit == 1,
                table.c.withdrawn == 0,
            )
            .order_by(table.c.at.desc())
            .limit(AUDITED)
        )
        rows = (await connection.execute(newest)).all()
        return [as_audited(row) for row in reversed(rows)]

    async def counted(
        self, tx: AsyncConnection, event: ReviewCompleted, newest: int
    ) -> dict[str, bool]:
        """Return the newest audited verdicts on a champion's own answers, oldest first: whether
        each called it wrong, by review id. The one that `event` withdraws is among them.
        """
        table = self.reviews
        wanted = (
            select(table.c.review_id, table.c.verdict)
            .where(
                table.c.route == event.route,
                table.c.adapter_id == event.adapter_id,
                table.c.arm == "champion",
                table.c.audit == 1,
                (table.c.withdrawn == 0) | (table.c.review_id == event.review_id),
            )
            .order_by(table.c.at.desc(), table.c.review_id.desc())
            .limit(newest)
        )
        rows = (await tx.execute(wanted)).all()
        return {row.review_id: row.verdict != "approved" for row in reversed(rows)}


def as_audited(row: Row[Any]) -> AuditedVerdict:
    return AuditedVerdict(at=row.at, right=row.verdict == "approved", score=row.score or 0.0)


def observations_table(metadata: MetaData) -> Table:
    """Declare the table. `seq` counts in the order of arrival; `at` is seconds since the epoch."""
    return Table(
        "observations",
        metadata,
        Column("seq", sa.BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("inference_id", String(64), nullable=False, unique=True),
        Column("route", String(200), nullable=False),
        Column("adapter_id", String(256), nullable=False),
        Column("at", Float, nullable=False),
        Column("score", Float, nullable=False),
        Column("p_correct", Float),
        Column("label", String, nullable=False),
        Column("words", Integer, nullable=False),
        Column("wording", sa.LargeBinary, nullable=False),
        Column("outcome", String(16), nullable=False),
        Index("observations_in_order", "route", "adapter_id", "seq"),
    )


def reviews_table(metadata: MetaData) -> Table:
    return Table(
        "reviews",
        metadata,
        Column("review_id", String(64), primary_key=True),
        Column("inference_id", String(64), nullable=False),
        Column("route", String(200), nullable=False),
        Column("adapter_id", String(256)),
        Column("arm", String(16), nullable=False),
        Column("at", Float, nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("audit", Integer, nullable=False),
        Column("probability", Float, nullable=False),
        Column("score", Float),
        Column("withdrawn", Integer, nullable=False, server_default="0"),
        Index("reviews_in_order", "route", "adapter_id", "at"),
    )


def feedback_table(metadata: MetaData) -> Table:
    return Table(
        "feedback",
        metadata,
        Column("feedback_id", String(64), primary_key=True),
        Column("inference_id", String(64), nullable=False, index=True),
        Column("route", String(200), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("value", Float),
        Column("at", Float, nullable=False),
    )

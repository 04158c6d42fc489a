"""What users said of answers. It is kept beside the verdicts and never trained on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Float, MetaData, String, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import FeedbackRecorded
from services.dataset_builder.store.verdicts import VerdictStore, microseconds
from shared.storage import insert_once


@dataclass(frozen=True)
class FeedbackCounts:
    received: int
    corrections_awaiting_review: int


class FeedbackStore:
    def __init__(self, metadata: MetaData, verdicts: VerdictStore) -> None:
        self.verdicts = verdicts.table
        self.table = feedback_table(metadata)

    async def on_feedback_recorded(self, tx: AsyncConnection, event: FeedbackRecorded) -> None:
        """Keep it; a user's correction counts once a reviewer confirmed it."""
        await insert_once(
            tx,
            self.table,
            {
                "feedback_id": event.feedback_id,
                "route": event.route,
                "inference_id": event.inference_id,
                "kind": event.kind,
                "value": event.value,
                "text": event.text,
                "source": event.source,
                "given_us": microseconds(event.occurred_at),
            },
        )

    async def count(self, connection: AsyncConnection, route: str) -> FeedbackCounts:
        """Count a route's feedback.

        A user's correction waits until a reviewer has looked at the same inference.
        """
        table = self.table
        verdicts = self.verdicts
        reviewed = (
            select(verdicts.c.review_id)
            .where(verdicts.c.inference_id == table.c.inference_id, verdicts.c.route == route)
            .exists()
        )
        given = select(func.count()).where(table.c.route == route)
        waiting = given.where(table.c.kind == "correction", ~reviewed)
        return FeedbackCounts(
            received=(await connection.execute(given)).scalar_one(),
            corrections_awaiting_review=(await connection.execute(waiting)).scalar_one(),
        )


def feedback_table(metadata: MetaData) -> Table:
    """Declare the table. `given_us` is microseconds since the epoch."""
    return Table(
        "feedback",
        metadata,
        Column("feedback_id", String(200), primary_key=True),
        Column("route", String(200), nullable=False, index=True),
        Column("inference_id", String(200), nullable=False, index=True),
        Column("kind", String(16), nullable=False),
        Column("value", Float),
        Column("text", String),
        Column("source", String(200), nullable=False),
        Column("given_us", BigInteger, nullable=False),
    )

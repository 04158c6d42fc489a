"""What reviewers said of audited answers, and what second people said who did not know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import ReviewCompleted
from services.evaluator.reviewers import Pair
from shared.storage import insert_once, seconds

# The newest pairs of a route: reviewers change.
NEWEST = 2000


class LookStore:
    """Keeps who said what of an audited answer: a digest of the right answer, never its text."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "looks",
            metadata,
            Column("review_id", String(64), primary_key=True),
            Column("inference_id", String(256), nullable=False),
            Column("route", String(200), nullable=False),
            Column("reviewer", String(128), nullable=False),
            Column("verdict", String(16), nullable=False),
            Column("answer", String(32)),
            Column("is_second", Integer, nullable=False),
            Column("withdrawn", Integer, nullable=False),
            seconds("at", nullable=False),
            Index("ix_looks_pairs", "route", "is_second", "at"),
            Index("ix_looks_inference", "inference_id"),
        )

    async def add(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Keep a look, or note that it counts no longer."""
        row = {
            "review_id": event.review_id,
            "inference_id": event.inference_id,
            "route": event.route,
            "reviewer": event.reviewer,
            "verdict": event.verdict,
            "answer": digest_of(event.answer),
            "is_second": int(event.second_of is not None),
            "withdrawn": int(event.withdrawn),
            "at": event.occurred_at.timestamp(),
        }
        new = await insert_once(tx, self.table, row)
        if event.withdrawn and not new:
            this = self.table.c.review_id == event.review_id
            await tx.execute(update(self.table).where(this).values(withdrawn=1))

    async def pairs(self, connection: AsyncConnection, route: str) -> Sequence[Pair]:
        """Return what two different people said of one answer, for the newest answers of a route.

        An answer counts once, and a verdict that was taken back does not.
        """
        first = self.table
        second = first.alias("second")
        one_answer = and_(
            first.c.inference_id == second.c.inference_id,
            first.c.route == second.c.route,
            first.c.is_second == 0,
            first.c.withdrawn == 0,
            first.c.reviewer != second.c.reviewer,
        )
        wanted = (
            select(
                first.c.verdict.label("first"),
                second.c.verdict.label("second"),
                first.c.answer.label("ours"),
                second.c.answer.label("theirs"),
            )
            .join(second, one_answer)
            .where(second.c.route == route, second.c.is_second == 1, second.c.withdrawn == 0)
            .order_by(second.c.at.desc(), second.c.review_id)
            .limit(NEWEST)
        )
        rows = (await connection.execute(wanted)).all()
        return [Pair(row.first, row.second, same=row.ours == row.theirs) for row in rows]


def digest_of(answer: str | None) -> str | None:
    """Return by what two right answers are compared: JSON by its values, other text but for case
    and blanks.
    """
    if answer is None:
        return None
    try:
        alike = json.dumps(json.loads(answer), sort_keys=True)
    except ValueError:
        alike = " ".join(answer.casefold().split())
    return blake2b(alike.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

"""How many answers each arm of a route gave, by day, and what was predicted of them: with the
verdicts they say how often answers are right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    case,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import InferenceRecorded
from services.evaluator.accuracy import (
    Answered,
    Estimate,
    Judged,
    estimate,
    predicted,
    tallied,
)
from services.evaluator.observed import NO_ADAPTER
from services.evaluator.store.streams import StreamStore
from shared.storage import insert_once

DAY_SECONDS = 86_400
# Days over which labels a day are counted.
LATELY = 7
# All arms of a route together.
ALL = "all"


@dataclass(frozen=True)
class LiveAccuracy:
    """How often an arm of a route was right; `estimate` is None where too few verdicts say."""

    route: str
    arm: str
    adapter_id: str | None
    answers: int
    verdicts: int
    estimate: Estimate | None


class AnsweredStore:
    def __init__(self, metadata: MetaData, streams: StreamStore, days: int) -> None:
        self.streams = streams
        # Days of answers that an estimate looks back on, today's among them.
        self.days = days
        self.table = Table(
            "answered",
            metadata,
            Column("route", String(200), primary_key=True),
            Column("day", Integer, primary_key=True, autoincrement=False),
            Column("arm", String(16), primary_key=True),
            Column("adapter_id", String(256), primary_key=True),
            # When the first of them was given, in seconds since the epoch.
            Column("since", Float, nullable=False),
            Column("answers", BigInteger, nullable=False),
            # Sums of what was predicted and of its square, in millionths.
            Column("predicted", BigInteger, nullable=False),
            Column("squared", BigInteger, nullable=False),
        )

    async def add(self, tx: AsyncConnection, event: InferenceRecorded) -> None:
        """Count an answer that was given."""
        table = self.table
        at = event.occurred_at.timestamp()
        one = vars(tallied(predicted(event.confidence)))
        key = {
            "route": event.route,
            "day": int(at // DAY_SECONDS),
            "arm": event.arm,
            "adapter_id": event.adapter_id or NO_ADAPTER,
        }
        counted = (
            update(table)
            .where(*(table.c[name] == value for name, value in key.items()))
            .values(
                since=case((table.c.since > at, at), else_=table.c.since),
                **{name: table.c[name] + value for name, value in one.items()},
            )
        )
        if (await tx.execute(counted)).rowcount:
            return
        # Another replica may have been faster.
        if not await insert_once(tx, table, key | {"since": at} | one):
            await tx.execute(counted)

    async def routes(self, connection: AsyncConnection) -> list[str]:
        """Return which routes have answered anything."""
        table = self.table
        return list((await connection.execute(select(table.c.route).distinct())).scalars())

    async def labels_a_day(self, connection: AsyncConnection, route: str, now: float) -> float:
        """Return how many audited verdicts a day a route had lately."""
        since = now - LATELY * DAY_SECONDS
        return await self.streams.labelled(connection, route, since) / LATELY

    async def accuracy(
        self, connection: AsyncConnection, route: str, now: float
    ) -> list[LiveAccuracy]:
        """Return how often a route's arms were right lately, all of them together first."""
        table = self.table
        first = int(now // DAY_SECONDS) - self.days + 1
        wanted = (
            select(
                table.c.arm,
                table.c.adapter_id,
                func.min(table.c.since).label("since"),
                func.sum(table.c.answers).label("answers"),
                func.sum(table.c.predicted).label("predicted"),
                func.sum(table.c.squared).label("squared"),
            )
            .where(table.c.route == route, table.c.day >= first)
            .group_by(table.c.arm, table.c.adapter_id)
            .order_by(table.c.arm, table.c.adapter_id)
        )
        arms = (await connection.execute(wanted)).all()
        if not arms:
            return []
        # What was answered before answers were counted counts as nothing here.
        since = min(arm.since for arm in arms)
        verdicts: dict[tuple[str, str], list[Judged]] = defaultdict(list)
        for arm, adapter_id, verdict in await self.streams.judged(connection, route, since):
            verdicts[arm, adapter_id].append(verdict)
        by_arm = {
            (row.arm, row.adapter_id): Answered(
                int(row.answers), int(row.predicted), int(row.squared)
            )
            for row in arms
        }
        known = [verdict for key in by_arm for verdict in verdicts[key]]
        return [
            told_of(route, ALL, NO_ADAPTER, sum(by_arm.values(), Answered()), known),
            *(told_of(route, *key, answered, verdicts[key]) for key, answered in by_arm.items()),
        ]


def told_of(
    route: str, arm: str, adapter_id: str, answered: Answered, verdicts: list[Judged]
) -> LiveAccuracy:
    return LiveAccuracy(
        route,
        arm,
        adapter_id or None,
        answered.answers,
        len(verdicts),
        estimate(answered, verdicts),
    )


def of_all(told: Iterable[LiveAccuracy]) -> Estimate | None:
    """Return the estimate for all arms together."""
    return next((one.estimate for one in told if one.arm == ALL), None)

"""Reviewers' verdicts, as stored."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    case,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.answers import normalise
from schemas.base import BlobRef
from schemas.events import ReviewCompleted
from schemas.route import RouteSpec
from services.dataset_builder.rows import BuildVerdicts, DatasetRow, UnopenedRow
from services.dataset_builder.rule import NewVerdicts
from services.dataset_builder.store.builds import BuildState
from services.dataset_builder.turns import encode_sent
from shared.storage import insert_once

# A verdict that its reviewer took back, or that a later one of the same item supersedes.
WITHDRAWN = "withdrawn"
REJECTED = "rejected"
# What a dataset is made of.
COLUMNS = (
    "review_id",
    "inference_id",
    "reviewer",
    "reviewed_us",
    "verdict",
    "messages",
    "answer",
    "audit",
    "asked_us",
    "session",
    "reason",
    "guideline",
    "model_answer",
    "arm",
    "adapter_id",
    "probability",
    "coin",
    "slices",
)


def microseconds(moment: datetime) -> int:
    """Return microseconds since the epoch."""
    return round(moment.timestamp() * 1_000_000)


class VerdictStore:
    def __init__(self, metadata: MetaData) -> None:
        self.table = verdicts_table(metadata)

    async def add(self, tx: AsyncConnection, event: ReviewCompleted, build: int) -> None:
        """Store a verdict once, and take back the one that it withdraws or supersedes. `build` is
        the first build that will hold it.

        One that is said again is the same row, with the larger probability: a complaint came.
        """
        if taken_back := event.review_id if event.withdrawn else event.supersedes:
            await tx.execute(
                update(self.table)
                .where(self.table.c.review_id == taken_back, self.table.c.route == event.route)
                .values(verdict=WITHDRAWN, trainable=False)
            )
        # A withdrawal that is heard first (a dead letter was replayed) leaves its mark, too.
        answered = event.verdict != REJECTED and event.answer is not None
        kind = event.verdict if answered else REJECTED
        new = await insert_once(
            tx,
            self.table,
            {
                "review_id": event.review_id,
                "route": event.route,
                "build": build,
                "trainable": answered and not event.audit and not event.withdrawn,
                "audit": event.audit,
                "verdict": WITHDRAWN if event.withdrawn else kind,
                "inference_id": event.inference_id,
                "reviewer": event.reviewer,
                "reviewed_us": microseconds(event.occurred_at),
                "reason": event.reason,
                "answer": event.answer,
                "messages": turns_or_reference(event),
                "asked_us": microseconds(event.asked_at) if event.asked_at else None,
                "session": event.session,
                "guideline": event.guideline,
                "model_answer": event.model_answer,
                "arm": event.arm,
                "adapter_id": event.adapter_id,
                "probability": event.probability,
                "coin": event.coin,
                "slices": json.dumps(event.slices, sort_keys=True) if event.slices else None,
            },
        )
        if not new:
            await self.include(tx, event)

    async def include(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Keep the larger probability; what a release before kept none of gets it, too."""
        logged = self.table.c.probability
        smaller = (logged < event.probability) | logged.is_(None)
        mine = (self.table.c.review_id == event.review_id, self.table.c.route == event.route)
        await tx.execute(
            update(self.table).where(*mine, smaller).values(probability=event.probability)
        )

    async def new(self, connection: AsyncConnection, state: BuildState) -> NewVerdicts:
        """Count the trainable verdicts since the route's last dataset."""
        table = self.table
        wanted = select(
            func.count(),
            func.count(case((table.c.reviewed_us > state.drift_us, 1)))
            if state.drift_id
            else func.count(case((table.c.build < 0, 1))),
            func.count(case((table.c.build > state.attempts, 1))),
        ).where(table.c.route == state.route, table.c.trainable, table.c.build > state.built)
        in_all, after_drift, since_attempt = (await connection.execute(wanted)).one()
        return NewVerdicts(in_all, after_drift, since_attempt)

    async def of_build(
        self, connection: AsyncConnection, route: str, build: int, since_us: int
    ) -> BuildVerdicts:
        """Return all verdicts up to a build, so that each attempt at it reads the same rows.

        Audited answers that were rejected are rows, too, from `since_us` on: what no label fitted
        before may have one now.
        """
        table = self.table
        mine = (
            table.c.route == route,
            table.c.build <= build,
            table.c.verdict != WITHDRAWN,
        )
        counts = (table.c.verdict != REJECTED) | (table.c.audit & (table.c.reviewed_us > since_us))
        without = select(func.count()).where(*mine, ~counts)
        answered = (
            select(*table.c[COLUMNS])
            .where(*mine, counts)
            .order_by(table.c.reviewed_us, table.c.review_id)
        )
        count = (await connection.execute(without)).scalar_one()
        found = BuildVerdicts([], [], count)
        known: dict[str, str] = {}
        async for stored in await connection.stream(answered):
            row = row_of(stored, known)
            if isinstance(row, UnopenedRow):
                found.unopened.append(row)
            else:
                found.rows.append(row)
        return found

    async def count_labels(
        self, connection: AsyncConnection, route: str, spec: RouteSpec
    ) -> Counter[str]:
        """Count the trainable verdicts of each normalised label; empty for other tasks."""
        table = self.table
        counts: Counter[str] = Counter()
        if spec.task == "classification":
            rows = await connection.execute(
                select(table.c.answer, func.count())
                .where(table.c.route == route, table.c.trainable)
                .group_by(table.c.answer)
            )
            for answer, count in rows:
                counts[normalise(answer, spec)] += count
        return counts

    async def count_kinds(self, connection: AsyncConnection, route: str) -> dict[str, int]:
        """Count the verdicts by what was decided; those of the audit share are counted apart."""
        table = self.table
        rows = await connection.execute(
            select(table.c.verdict, table.c.audit, func.count())
            .where(table.c.route == route, table.c.verdict != WITHDRAWN)
            .group_by(table.c.verdict, table.c.audit)
        )
        counts = Counter({"approved": 0, "corrected": 0, "rejected": 0, "audit": 0})
        for verdict, audit, count in rows:
            counts["audit" if audit else verdict] += count
        return dict(counts)


def turns_or_reference(event: ReviewCompleted) -> str:
    """Return what the column `messages` holds: a JSON list of turns, or a JSON object that says
    where content too large for an event is stored.
    """
    return event.content.model_dump_json() if event.content else encode_sent(event.messages)


def row_of(stored: Row[Any], known: dict[str, str]) -> DatasetRow | UnopenedRow:
    """Return a row whose texts are in memory once, however often traffic repeats them."""

    def once(text: str | None) -> str | None:
        return text if text is None else known.setdefault(text, text)

    refers = stored.messages.startswith("{")
    row = DatasetRow(
        review_id=stored.review_id,
        inference_id=stored.inference_id,
        reviewer=known.setdefault(stored.reviewer, stored.reviewer),
        reviewed_us=stored.reviewed_us,
        label_source=stored.verdict,
        messages="[]" if refers else known.setdefault(stored.messages, stored.messages),
        answer=once(stored.answer) or "",
        audit=stored.audit,
        asked_us=stored.asked_us,
        session=once(stored.session),
        reason=once(stored.reason),
        guideline=once(stored.guideline),
        model_answer=once(stored.model_answer),
        arm=once(stored.arm),
        adapter_id=once(stored.adapter_id),
        probability=stored.probability,
        coin=stored.coin,
        slices=once(stored.slices),
    )
    if refers:
        return UnopenedRow(row, BlobRef.model_validate_json(stored.messages))
    return row


def verdicts_table(metadata: MetaData) -> Table:
    """Declare the table.

    `build` is the first build that holds the verdict; `reviewed_us` is microseconds since the
    epoch; `messages` holds what `turns_or_reference` returns.
    """
    return Table(
        "verdicts",
        metadata,
        Column("review_id", String(64), primary_key=True),
        Column("route", String(200), nullable=False),
        Column("build", Integer, nullable=False),
        Column("trainable", Boolean, nullable=False),
        Column("audit", Boolean, nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("inference_id", String(200), nullable=False, index=True),
        Column("reviewer", String(200), nullable=False),
        Column("reviewed_us", BigInteger, nullable=False),
        Column("reason", String(64), nullable=False),
        Column("messages", String, nullable=False),
        Column("answer", String),
        Column("asked_us", BigInteger),
        Column("session", String),
        Column("guideline", String),
        Column("model_answer", String),
        Column("arm", String),
        Column("adapter_id", String),
        Column("probability", Float(53)),
        Column("coin", Float(53)),
        Column("slices", String),
        Index("verdicts_new", "route", "trainable", "build"),
    )

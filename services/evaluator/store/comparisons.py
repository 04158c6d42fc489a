"""Which pairs of answers people and the judge model are asked about, and what they said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Column, MetaData, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Arm
from schemas.comparisons import AnswersCompared, Judgement
from services.evaluator.comparisons import Pairing, Side, Tally, tally_of
from shared.storage import insert_once, seconds


class ComparisonStore:
    """Keeps sides and judgements, and no answers."""

    def __init__(self, metadata: MetaData) -> None:
        self.pairings = Table(
            "pairings",
            metadata,
            Column("comparison_id", String(64), primary_key=True),
            Column("evaluation_id", String(64), nullable=False, index=True),
            Column("row_id", String(256), nullable=False),
            Column("against", String(16), nullable=False),
            Column("challenger", String(8), nullable=False),
        )
        self.judgements = Table(
            "judgements",
            metadata,
            Column("comparison_id", String(64), primary_key=True),
            Column("judge", String(8), primary_key=True),
            Column("judgement", String(16), nullable=False),
            Column("given_by", String(256), nullable=False),
            seconds("at", nullable=False),
        )

    async def ask(self, tx: AsyncConnection, pairing: Pairing) -> bool:
        """Note that a pair is asked about; return whether it was not before."""
        return await insert_once(tx, self.pairings, vars(pairing))

    async def on_answers_compared(self, tx: AsyncConnection, event: AnswersCompared) -> None:
        """Keep a judgement: of one pair the first of a person, and the first of the model."""
        row = {
            "comparison_id": event.comparison_id,
            "judge": event.judge,
            "judgement": event.judgement,
            "given_by": event.by,
            "at": event.occurred_at.timestamp(),
        }
        await insert_once(tx, self.judgements, row)

    async def tally(self, connection: AsyncConnection, evaluation_id: str, against: Arm) -> Tally:
        """Count what people said of a challenger against another arm."""
        said = await self.said(connection, evaluation_id, against, "person")
        return tally_of(list(said.values()))

    async def said(
        self,
        connection: AsyncConnection,
        evaluation_id: str,
        against: Arm,
        judge: Literal["person", "model"],
    ) -> dict[str, tuple[Judgement, Side]]:
        """Return judgements by the pair, each with the side that the challenger had."""
        pairings = self.pairings
        judgements = self.judgements
        wanted = (
            select(judgements.c.comparison_id, judgements.c.judgement, pairings.c.challenger)
            .join(pairings, pairings.c.comparison_id == judgements.c.comparison_id)
            .where(
                pairings.c.evaluation_id == evaluation_id,
                pairings.c.against == against,
                judgements.c.judge == judge,
            )
        )
        rows = (await connection.execute(wanted)).all()
        return {row.comparison_id: (row.judgement, row.challenger) for row in rows}

    async def asked(self, connection: AsyncConnection, evaluation_id: str) -> Sequence[Pairing]:
        """Return the pairs of an evaluation."""
        table = self.pairings
        wanted = select(table).where(table.c.evaluation_id == evaluation_id)
        return [Pairing(**row) for row in (await connection.execute(wanted)).mappings()]

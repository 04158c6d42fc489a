"""Of which answers a verdict was asked for once more: never twice, however many builds follow."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.dataset_builder.disputes import Dispute

# A build asks for no more, or a route with years of verdicts would bury its reviewers.
MOST = 50


class RequestStore:
    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "requests",
            metadata,
            Column("route", String(200), primary_key=True),
            Column("inference_id", String(200), primary_key=True),
        )

    async def choose(
        self, tx: AsyncConnection, route: str, found: Sequence[Dispute]
    ) -> list[Dispute]:
        """Return the first that were never asked for, and note that they are."""
        if not found:
            return []
        table = self.table
        asked = set(await tx.scalars(select(table.c.inference_id).where(table.c.route == route)))
        chosen = [one for one in found if one.inference_id not in asked][:MOST]
        if chosen:
            rows = [{"route": route, "inference_id": one.inference_id} for one in chosen]
            await tx.execute(insert(table), rows)
        return chosen

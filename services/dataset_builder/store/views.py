"""What the API shows: datasets, how near a route is to its next one. Reads only, always within one
tenant.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.answers import normalise
from schemas.events import DatasetBuilt
from schemas.route import RouteSpec
from services.dataset_builder.minimums import needs
from services.dataset_builder.store.ledger import Ledger
from shared.errors import NotFound


class DatasetUnknown(NotFound):
    def __init__(self, dataset_id: str) -> None:
        super().__init__(f"no dataset '{dataset_id}'; GET /v1/datasets lists what exists")


class Views:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.tables = ledger.tables

    async def datasets(
        self, connection: AsyncConnection, tenant: str, route: str | None, offset: int, limit: int
    ) -> list[dict[str, Any]]:
        """Newest first."""
        table = self.tables.datasets
        mine = (
            table.c.route == route
            if route
            else table.c.route.startswith(f"{tenant}/", autoescape=True)
        )
        chosen = (
            select(table.c.event)
            .where(mine)
            .order_by(table.c.built_us.desc(), table.c.dataset_id)
            .offset(offset)
            .limit(limit)
        )
        return [json.loads(event) for event in (await connection.execute(chosen)).scalars()]

    async def dataset(
        self, connection: AsyncConnection, tenant: str, dataset_id: str
    ) -> tuple[DatasetBuilt, dict[str, Any]]:
        table = self.tables.datasets
        mine = table.c.route.startswith(f"{tenant}/", autoescape=True)
        row = (
            await connection.execute(
                select(table.c.event, table.c.manifest).where(
                    table.c.dataset_id == dataset_id, mine
                )
            )
        ).first()
        if row is None:
            raise DatasetUnknown(dataset_id)
        return DatasetBuilt.model_validate_json(row.event), json.loads(row.manifest)

    async def readiness(self, connection: AsyncConnection, route: str) -> dict[str, Any]:
        """How far a route is from its next dataset, and what stands in the way."""
        spec = (await self.ledger.routes.get(connection, route)).spec
        builds = self.tables.builds
        state = (await connection.execute(select(builds).where(builds.c.route == route))).first()
        per_label, in_all = needs(spec)
        counts = await self._answers(connection, route, spec)
        return {
            "route": route,
            "minimum_rows": in_all,
            "minimum_per_label": per_label,
            "labels": {
                label: {"verdicts": counts[normalise(label, spec)], "minimum": per_label}
                for label in spec.labels
            },
            "verdicts": await self._verdicts(connection, route),
            "feedback": await self._feedback(connection, route),
        } | await self._progress(connection, state, spec)

    async def _progress(
        self, connection: AsyncConnection, state: Row[Any] | None, spec: RouteSpec
    ) -> dict[str, Any]:
        rule = spec.retrain
        if state is None:
            return {
                "new_verdicts": 0,
                "needed": rule.min_new_verdicts,
                "drift": None,
                "building": None,
                "refusal": None,
                "dataset_id": None,
            }
        standing = await self.ledger.standing(connection, state, spec)
        drift = {
            "drift_id": standing.drift_id,
            "new_verdicts": standing.new_after_drift,
            "needed": rule.min_new_after_drift,
        }
        refusal = json.loads(state.refusal) if state.refusal else None
        return {
            "new_verdicts": standing.new,
            "needed": rule.min_new_verdicts,
            "drift": drift if standing.drift_id else None,
            "building": state.building or None,
            "dataset_id": state.dataset_id,
            "refusal": (
                refusal
                and {
                    "build": refusal["build"],
                    "error": refusal["error"],
                    "detail": refusal["detail"],
                    "verdicts_until_retry": max(0, standing.wait - standing.since_refusal),
                }
            ),
        }

    async def _answers(
        self, connection: AsyncConnection, route: str, spec: RouteSpec
    ) -> Counter[str]:
        table = self.tables.verdicts
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

    async def _verdicts(self, connection: AsyncConnection, route: str) -> dict[str, int]:
        table = self.tables.verdicts
        rows = await connection.execute(
            select(table.c.verdict, table.c.audit, func.count())
            .where(table.c.route == route)
            .group_by(table.c.verdict, table.c.audit)
        )
        counts = Counter({"approved": 0, "corrected": 0, "rejected": 0, "audit": 0})
        for verdict, audit, count in rows:
            counts["audit" if audit else verdict] += count
        return dict(counts)

    async def _feedback(self, connection: AsyncConnection, route: str) -> dict[str, int]:
        """A user's correction waits until a reviewer has looked at the same inference."""
        table = self.tables.feedback
        verdicts = self.tables.verdicts
        reviewed = (
            select(verdicts.c.review_id)
            .where(verdicts.c.inference_id == table.c.inference_id, verdicts.c.route == route)
            .exists()
        )
        given = select(func.count()).where(table.c.route == route)
        total = (await connection.execute(given)).scalar_one()
        waiting = (
            await connection.execute(given.where(table.c.kind == "correction", ~reviewed))
        ).scalar_one()
        return {"received": total, "corrections_awaiting_review": waiting}

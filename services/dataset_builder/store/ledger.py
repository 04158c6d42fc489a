"""What is known of each route: its verdicts, its drift, its builds. The decision to build is made
where it is stored.

A route's row in `builds` is locked before anything is counted, so two replicas never decide the
same build.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import MetaData, Row, case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import (
    DatasetBuilt,
    DriftDetected,
    FeedbackRecorded,
    ReviewCompleted,
    RouteChanged,
)
from schemas.route import RouteSpec
from services.dataset_builder import rule
from services.dataset_builder.ports import Order
from services.dataset_builder.prepare import encode
from services.dataset_builder.rows import Row as Verdict
from services.dataset_builder.store.tables import dataset_tables
from shared.errors import Conflict
from shared.jobs.worker import JobStore
from shared.rules.routes import RouteBook, RouteUnknown
from shared.storage.db import Database, insert_once

JOB = "build-dataset"


class BuildRunning(Conflict):
    def __init__(self, route: str, build: int) -> None:
        super().__init__(
            f"build {build} of {route} is queued or running; GET /v1/jobs shows it, ask again when"
            " it has ended"
        )


class BuildOutdated(Conflict):
    def __init__(self, order: Order) -> None:
        super().__init__(
            f"build {order.build} of {order.route} is not its newest: 'ratchet datasets build"
            f" {order.route}' makes one of all verdicts"
        )


def microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


class Ledger:
    def __init__(self, db: Database, metadata: MetaData, jobs: JobStore, routes: RouteBook) -> None:
        self.db = db
        self.jobs = jobs
        self.routes = routes
        self.tables = dataset_tables(metadata)

    async def add_verdict(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        state = await self._locked(tx, event.route)
        answered = event.verdict != "rejected" and event.answer is not None
        await insert_once(
            tx,
            self.tables.verdicts,
            {
                "review_id": event.review_id,
                "route": event.route,
                "build": state.attempts + 1,
                "trainable": answered and not event.audit,
                "audit": event.audit,
                "verdict": event.verdict if answered else "rejected",
                "inference_id": event.inference_id,
                "reviewer": event.reviewer,
                "reviewed_us": microseconds(event.occurred_at),
                "reason": event.reason,
                "answer": event.answer,
                "messages": encode(m.model_dump() for m in event.messages if m.role != "system"),
            },
        )
        await self._consider(tx, state)

    async def add_feedback(self, tx: AsyncConnection, event: FeedbackRecorded) -> None:
        """Kept beside the verdicts and never trained on: a user's correction counts once a reviewer
        confirmed it.
        """
        await insert_once(
            tx,
            self.tables.feedback,
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

    async def add_drift(self, tx: AsyncConnection, event: DriftDetected) -> None:
        """Arm the lower threshold. Armed already, the older drift stands, or its verdicts would be
        counted from zero again.
        """
        state = await self._locked(tx, event.route)
        if state.drift_id is None or state.building:
            await self._update(
                tx, event.route, drift_id=event.drift_id, drift_us=microseconds(event.occurred_at)
            )
        await self.consider(tx, event.route)

    async def change_route(self, tx: AsyncConnection, event: RouteChanged) -> None:
        """New labels or minimums may make a build possible; verdicts may also have come before
        their route.
        """
        await self.routes.apply(tx, event)
        await self.consider(tx, event.route)

    async def consider(self, tx: AsyncConnection, route: str) -> None:
        await self._consider(tx, await self._locked(tx, route))

    async def _consider(self, tx: AsyncConnection, state: Row[Any]) -> None:
        """Order a build when the rule says so. A route not yet announced waits for its
        announcement.
        """
        try:
            spec = (await self.routes.get(tx, state.route)).spec
        except RouteUnknown:
            return
        if because := rule.decide(await self.standing(tx, state, spec), spec.retrain):
            await self._order(tx, state, spec, because)

    async def command(self, tx: AsyncConnection, route: str, because: str) -> int:
        """Order a build whatever the rule says; returns its number."""
        spec = (await self.routes.get(tx, route)).spec
        state = await self._locked(tx, route)
        if state.building:
            raise BuildRunning(route, state.building)
        return await self._order(tx, state, spec, because)

    async def standing(
        self, connection: AsyncConnection, state: Row[Any], spec: RouteSpec
    ) -> rule.Standing:
        table = self.tables.verdicts
        after_drift = (
            case((table.c.reviewed_us > state.drift_us, 1), else_=0)
            if state.drift_id
            else case((table.c.build < 0, 1), else_=0)
        )
        new, drifted, since = (
            await connection.execute(
                select(
                    func.count(),
                    func.coalesce(func.sum(after_drift), 0),
                    func.coalesce(func.sum(case((table.c.build > state.attempts, 1), else_=0)), 0),
                ).where(
                    table.c.route == state.route, table.c.trainable, table.c.build > state.built
                )
            )
        ).one()
        refused_for_this = state.refusal and json.loads(state.refusal)["spec"] == spec.model_dump(
            mode="json"
        )
        return rule.Standing(
            new=new,
            new_after_drift=int(drifted),
            drift_id=state.drift_id,
            building=bool(state.building),
            since_refusal=int(since),
            wait=state.wait if refused_for_this else 0,
        )

    async def verdicts(self, route: str, build: int) -> tuple[list[Verdict], int]:
        """All answered verdicts up to a build in their one order, and how many were rejected."""
        table = self.tables.verdicts
        mine = (table.c.route == route, table.c.build <= build)
        columns = [
            table.c[name]
            for name in (
                "review_id",
                "inference_id",
                "reviewer",
                "reviewed_us",
                "verdict",
                "messages",
                "answer",
                "audit",
            )
        ]
        chosen = (
            select(*columns)
            .where(*mine, table.c.verdict != "rejected")
            .order_by(table.c.reviewed_us, table.c.review_id)
        )
        async with self.db.read() as connection:
            rejected = (
                await connection.execute(
                    select(func.count()).where(*mine, table.c.verdict == "rejected")
                )
            ).scalar_one()
            found = await connection.stream(chosen)
            return [Verdict(*row) async for row in found], rejected

    async def built(
        self, tx: AsyncConnection, order: Order, event: DatasetBuilt, manifest: str
    ) -> None:
        await tx.execute(
            insert(self.tables.datasets).values(
                dataset_id=event.dataset_id,
                route=order.route,
                built_us=microseconds(event.occurred_at),
                event=event.model_dump_json(),
                manifest=manifest,
            )
        )
        state = await self._locked(tx, order.route)
        disarmed = {"drift_id": None, "drift_us": None} if state.drift_id == order.drift_id else {}
        await self._update(
            tx,
            order.route,
            built=order.build,
            building=0,
            wait=0,
            refusal=None,
            dataset_id=event.dataset_id,
            **disarmed,
        )
        await self.consider(tx, order.route)

    async def refused(
        self, tx: AsyncConnection, order: Order, name: str, reason: str, missing: int
    ) -> None:
        wait = rule.wait_after_refusal(missing, order.drift_id, order.spec.retrain)
        refusal = {
            "build": order.build,
            "error": name,
            "detail": reason,
            "spec": order.spec.model_dump(mode="json"),
        }
        await self._locked(tx, order.route)
        await self._update(tx, order.route, building=0, wait=wait, refusal=json.dumps(refusal))
        await self.consider(tx, order.route)

    async def reopen(self, tx: AsyncConnection, order: Order) -> None:
        """The same build once more, as long as no newer one was ordered."""
        state = await self._locked(tx, order.route)
        if state.building:
            raise BuildRunning(order.route, state.building)
        if state.attempts != order.build:
            raise BuildOutdated(order)
        await self._update(tx, order.route, building=order.build)

    async def manifest(self, dataset_id: str) -> dict[str, Any]:
        table = self.tables.datasets
        async with self.db.read() as connection:
            return json.loads(
                (
                    await connection.execute(
                        select(table.c.manifest).where(table.c.dataset_id == dataset_id)
                    )
                ).scalar_one()
            )

    async def _order(
        self, tx: AsyncConnection, state: Row[Any], spec: RouteSpec, because: str
    ) -> int:
        build = state.attempts + 1
        order = Order(
            route=state.route,
            build=build,
            because=because,
            spec=spec,
            parent=state.dataset_id,
            drift_id=state.drift_id,
        )
        await self.jobs.add(tx, JOB, f"{state.route}#{build}", order.model_dump(mode="json"))
        await self._update(tx, state.route, attempts=build, building=build)
        return build

    async def _locked(self, tx: AsyncConnection, route: str) -> Row[Any]:
        table = self.tables.builds
        mine = select(table).where(table.c.route == route).with_for_update()
        if (state := (await tx.execute(mine)).first()) is not None:
            return state
        await insert_once(
            tx, table, {"route": route, "attempts": 0, "built": 0, "building": 0, "wait": 0}
        )
        return (await tx.execute(mine)).one()

    async def _update(self, tx: AsyncConnection, route: str, **values: Any) -> None:
        await tx.execute(
            update(self.tables.builds).where(self.tables.builds.c.route == route).values(**values)
        )

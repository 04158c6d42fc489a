"""Calibrates what serves once more, where nothing that was fitted holds for it: after a change of
prompt, labels, schema, `max_tokens`, tolerated risk or engine, and after an upgrade that asks
otherwise.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.answers import is_free_text, well_formed
from schemas.base import AdapterRef
from schemas.events import AdapterTrained, RouteChanged
from services.evaluator.contests import JOB
from services.evaluator.evaluation import Evaluation
from services.evaluator.findings import calibrations_of
from services.evaluator.heldout import DECIDING, Contender
from services.evaluator.publication import calibrations_fitted
from services.evaluator.store.populations import PopulationStore
from shared.describing import describe
from shared.errors import Retryable
from shared.jobs import Job
from shared.rules import form_of, population
from shared.telemetry import log

KIND = "recalibrate"
POLL_SECONDS = 5.0


@dataclass
class Recalibration:
    """Notices what is not calibrated, and asks the rows of the route's newest dataset again."""

    evaluation: Evaluation
    populations: PopulationStore
    # By route: for which version, engine and number of populations there was nothing to do.
    _settled: dict[str, tuple[int, str, int]] = field(default_factory=dict)

    async def watch(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.look()
            except Retryable:
                # The engine or the database is away: it is looked at again.
                pass
            except Exception as error:  # noqa: BLE001
                log("recalibration").error("not looked at, will retry", error=describe(error))
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Queue a job for every route of which an arm is not calibrated for how it is asked."""
        parts = self.evaluation
        async with parts.db.read() as connection:
            table = parts.routes.table
            rows = await connection.execute(select(table.c.route, table.c.version))
            versions = {row.route: row.version for row in rows}
            fitted = await self.populations.count(connection)
        if not versions:
            return
        await parts.generator.see()
        engine = parts.generator.grammar.engine
        for route, version in versions.items():
            now = (version, engine, fitted)
            if self._settled.get(route) != now and await self._settle(route):
                self._settled[route] = now

    async def _settle(self, route: str) -> bool:
        """Queue what a route needs; return False where an evaluation may bring it first."""
        parts = self.evaluation
        async with parts.db.read() as connection:
            state = await parts.routes.get(connection, route)
            if is_free_text(state.spec):
                return True
            trained = await self._newest(connection, route)
            if trained is None or not await self._missing(connection, state):
                return True
            if await self._is_evaluated_now(connection, route):
                return False
        payload = trained.model_copy(
            update={"spec": state.spec, "adapter": state.champion or trained.adapter}
        ).model_dump(mode="json")
        # A route that becomes what it was has another version: it may have been missed then.
        key = f"{KIND} {route} {state.version} {parts.generator.grammar.engine}"[:256]
        async with parts.db.transaction() as tx:
            await parts.jobs.add(tx, KIND, key, payload)
        return True

    async def _missing(
        self, connection: AsyncConnection, state: RouteChanged
    ) -> list[AdapterRef | None]:
        """Return the arms that are calibrated by no step of the route's form."""
        known = await self.populations.known(connection, state.route)
        engine = self.evaluation.generator.grammar.engine
        return [arm for arm in arms_of(state) if known.isdisjoint(digests_of(state, arm, engine))]

    async def _newest(self, connection: AsyncConnection, route: str) -> AdapterTrained | None:
        """Return the last adapter that was trained for a route, with its dataset."""
        table = self.evaluation.jobs.table
        wanted = (
            select(table.c.payload)
            .where(table.c.route == route, table.c.kind == JOB)
            .order_by(table.c.job_id.desc())
            .limit(1)
        )
        found = (await connection.execute(wanted)).scalar()
        return AdapterTrained.model_validate(found) if found else None

    async def _is_evaluated_now(self, connection: AsyncConnection, route: str) -> bool:
        table = self.evaluation.jobs.table
        wanted = select(table.c.job_id).where(
            table.c.route == route, table.c.kind == JOB, table.c.state.in_(("queued", "running"))
        )
        return (await connection.execute(wanted.limit(1))).first() is not None

    async def run(self, job: Job) -> None:
        """Ask the arms that serve now, and publish how far each can be trusted."""
        parts = self.evaluation
        trained = AdapterTrained.model_validate(job.payload)
        await parts.generator.see()
        async with parts.db.read() as connection:
            # The newest state counts: what it was when this was queued serves no more.
            state = await parts.routes.get(connection, trained.route)
            # What reaches the base model depends on the adapter before it, so all are asked.
            arms = arms_of(state) if await self._missing(connection, state) else []
        trained = trained.model_copy(update={"spec": state.spec})
        contenders = [
            Contender("champion", arm.adapter_id) if arm else Contender("base") for arm in arms
        ]
        async with parts.turn:
            rows = [
                row
                for row in await parts.rows(trained)
                if row.split == DECIDING
                and (row.is_rejected or well_formed(row.answer, state.spec))
            ]
            for arm in filter(None, arms):
                await parts.load(arm)
            answered = await parts.questions.ask_all(job, contenders, rows, state.spec)
            await parts.unload(contenders)
        missed = await parts.missed(trained.route)
        found = await asyncio.to_thread(calibrations_of, answered, state.spec, missed)
        fitted = calibrations_fitted(trained, found, parts.generator.grammar)
        async with parts.db.transaction() as tx:
            await parts.jobs.finish(tx, job, {"calibrated": len(fitted)})
            await self.populations.add(tx, fitted)
            await parts.outbox.add(tx, *fitted)
        parts.transcripts.drop(job.run_name)
        log("recalibration").info("calibrated again", route=trained.route, arms=len(fitted))


def arms_of(state: RouteChanged) -> list[AdapterRef | None]:
    """Return what answers a route now: the base model (None) and its adapters."""
    challenger = state.challenger.adapter if state.challenger else None
    return [None, *(one for one in (state.champion, challenger) if one)]


def digests_of(state: RouteChanged, arm: AdapterRef | None, engine: str) -> list[str]:
    """Return what a calibration of an arm may hold for, by the steps of its form."""
    adapter_id = arm.adapter_id if arm else None
    steps = range(len(form_of(state.spec).steps))
    return [population(state.spec, adapter_id, engine, step) for step in steps]

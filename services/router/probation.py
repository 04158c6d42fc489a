"""What follows a promotion: a champion that proves worse than what it replaced goes again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from services.router.evidence import ROLLBACK_EVIDENCE, Against
from services.router.rollout import said
from services.router.state import RouteView
from services.router.store.routes import RouteDatabase
from services.router.store.shadows import ShadowStore
from services.router.store.trials import Trial, Trials
from services.router.table import RouteTable
from shared.describing import describe
from shared.storage import Database
from shared.telemetry import log

# Seconds between two looks. Verdicts take hours, failures show in the next answers.
EVERY = 2.0
# Seconds after which what was answered is surely committed.
LAG = 1.0
SECONDS_PER_HOUR = 3600.0


@dataclass
class Probation:
    """Watches the champions that were promoted, for as long as they serve."""

    db: Database
    table: RouteTable
    routes: RouteDatabase
    trials: Trials
    shadows: ShadowStore
    freeze_hours: float
    # Of a route: its version with the marker of its verdicts, and what they said.
    _compared: dict[str, tuple[tuple[float, ...], Against]] = field(default_factory=dict)

    async def run(self) -> None:
        """Run until cancelled, in rounds."""
        while True:
            for view in list(self.table.views.values()):
                try:
                    await self.look(view)
                # The loop outlives a database that is away.
                except Exception as error:  # noqa: BLE001
                    log("probation").error(
                        "round failed", kind=type(error).__name__, error=describe(error)[:300]
                    )
            await asyncio.sleep(EVERY)

    async def look(self, view: RouteView) -> None:
        """Judge a champion by all that came since its canary began, and roll it back if it must."""
        state = view.state
        if state.champion is None or state.promoted_at is None:
            return
        trial = await self._counted(state.route, state.champion.adapter_id, state.promoted_at)
        compared = await self._comparison(view, state.champion.adapter_id, state.promoted_at)
        if trial is None:
            return
        if trial.watch.evidence >= ROLLBACK_EVIDENCE:
            why = f"{trial.failed} of {trial.asked} answers failed or broke the format"
        elif proof := compared.proof(ROLLBACK_EVIDENCE):
            why = f"it is wrong more often than what it replaced: {said(proof)}"
        else:
            return
        await self._roll_back(view, why, evidence_of(trial, compared))

    async def shown(self, view: RouteView) -> dict[str, float] | None:
        """Return what is known of a champion that was promoted, for people."""
        state = view.state
        if state.champion is None or state.promoted_at is None:
            return None
        adapter_id, promoted_at = state.champion.adapter_id, state.promoted_at
        async with self.db.read() as connection:
            trial = await self.trials.find(connection, state.route, adapter_id)
        compared = await self._comparison(view, adapter_id, promoted_at)
        return evidence_of(trial or Trial(promoted_at), compared) | {"since": promoted_at}

    async def _counted(self, route: str, adapter_id: str, promoted_at: float) -> Trial | None:
        async with self.db.transaction() as tx:
            trial = await self.trials.find(tx, route, adapter_id)
            if trial is None:
                await self.trials.begin(tx, route, adapter_id, promoted_at)
                return None
            return await self.trials.count(tx, route, adapter_id, trial, time.time() - LAG)

    async def _comparison(self, view: RouteView, adapter_id: str, promoted_at: float) -> Against:
        state = view.state
        before = state.previous.adapter_id if state.previous else None
        async with self.db.read() as connection:
            marker = (state.version, *await self.trials.marker(connection, state.route))
            known = self._compared.get(state.route)
            if known and known[0] == marker:
                return known[1]
            began = await self.routes.canary_began(connection, state.route, adapter_id)
            began = began or promoted_at
            ordered = await self.trials.comparison(
                connection, state.route, adapter_id, before, began, promoted_at
            )
            shadowed = None
            if state.spec.canary.shadow:
                shadowed = await self.shadows.comparison(
                    connection, state.route, adapter_id, before, began
                )
        compared = Against(ordered, shadowed)
        self._compared[state.route] = marker, compared
        return compared

    async def _roll_back(self, view: RouteView, why: str, evidence: dict[str, float]) -> None:
        """Go back unless the route moved meanwhile."""
        state = view.state
        until = time.time() + self.freeze_hours * SECONDS_PER_HOUR
        async with self.db.transaction() as tx:
            if (await self.routes.load(tx, state.route)).version != state.version:
                return
            to = state.rolled_back(state.previous, until)
            await self.routes.save(tx, state, to, f"rolled back: {why}", "router", evidence)
        log("probation").warning("rolled back", route=state.route, version=to.version)
        await self.table.refresh()


def evidence_of(trial: Trial, compared: Against) -> dict[str, float]:
    """Return what a rollback is founded on, for its event."""
    return {
        "asked": trial.asked,
        "failed": trial.failed,
        "against_failures": trial.watch.evidence,
        **compared.facts,
    }

"""What is known of each route, and the decision to build, made in the transaction that changes it.

A route's row in `builds` is locked before anything is counted, so two replicas never decide the
same build.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import DatasetBuilt, DriftDetected, ReviewCompleted, RouteChanged
from schemas.monitoring import RetrainHeld
from schemas.route import RouteSpec
from services.dataset_builder import rule
from services.dataset_builder.assemble import Refused
from services.dataset_builder.order import JOB, BuildOrder
from services.dataset_builder.store.builds import BuildState, BuildStore, Refusal
from services.dataset_builder.store.datasets import DatasetStore
from services.dataset_builder.store.verdicts import VerdictStore, microseconds
from shared.errors import Conflict
from shared.events import Outbox
from shared.jobs import JobStore
from shared.rules import RouteBook, RouteUnknown
from shared.telemetry import log


class BuildRunning(Conflict):
    def __init__(self, route: str, build: int) -> None:
        super().__init__(
            f"build {build} of {route} is queued or running; GET /v1/jobs shows it, ask again when"
            " it has ended"
        )


class BuildOutdated(Conflict):
    def __init__(self, order: BuildOrder) -> None:
        super().__init__(
            f"build {order.build} of {order.route} is not its newest: 'ratchet datasets build"
            f" {order.route}' makes one of all verdicts"
        )


@dataclass(frozen=True)
class Ledger:
    jobs: JobStore
    routes: RouteBook
    verdicts: VerdictStore
    builds: BuildStore
    datasets: DatasetStore
    outbox: Outbox

    async def on_review_completed(self, tx: AsyncConnection, event: ReviewCompleted) -> None:
        """Keep a verdict; a second look at one is none of its own, and tells of reviewers alone."""
        if event.second_of:
            return
        state = await self.builds.locked(tx, event.route)
        await self.verdicts.add(tx, event, build=state.attempts + 1)
        await self._consider(tx, state)

    async def on_drift_detected(self, tx: AsyncConnection, event: DriftDetected) -> None:
        """Note a drift, and lower the threshold once labels bear it out.

        A change of the input alone brings labels: they say whether answers got worse, by an alarm
        of `errors`. Where a drift is known already, it stands, or its verdicts would be counted
        from zero again.
        """
        state = await self.builds.locked(tx, event.route)
        confirmed = event.monitor == "errors"
        if state.drift_id is None or state.building:
            drift_us = microseconds(event.occurred_at)
            state = replace(state, drift_id=event.drift_id, drift_us=drift_us, confirmed=confirmed)
        elif confirmed:
            state = replace(state, confirmed=True)
        await self.builds.save(tx, state)
        await self._consider(tx, state)

    async def on_route_changed(self, tx: AsyncConnection, event: RouteChanged) -> None:
        """Look again: new labels or minimums may make a build possible, and verdicts may have come
        before their route.

        Whoever changes what may be answered after a drift bears it out.
        """
        before = await self._spec(tx, event.route)
        await self.routes.on_route_changed(tx, event)
        after = await self._spec(tx, event.route)
        state = await self.builds.locked(tx, event.route)
        if before and after and answers_of(before) != answers_of(after):
            confirmed = state.confirmed or bool(state.drift_id)
            meaning_us = microseconds(event.occurred_at)
            state = replace(state, confirmed=confirmed, meaning_us=meaning_us)
            await self.builds.save(tx, state)
        await self._consider(tx, state)

    async def consider_again(self, tx: AsyncConnection, route: str) -> None:
        """Look again at a route: the brake that held its dataset back may be over."""
        await self._consider(tx, await self.builds.locked(tx, route))

    async def command(
        self, tx: AsyncConnection, route: str, because: str, accept_losses: bool = False
    ) -> int:
        """Order a build whatever the rule says; return its number. Raises BuildRunning."""
        spec = (await self.routes.get(tx, route)).spec
        state = await self.builds.locked(tx, route)
        if state.building:
            raise BuildRunning(route, state.building)
        return await self._order(tx, state, spec, because, accept_losses)

    async def standing(
        self, connection: AsyncConnection, state: BuildState, spec: RouteSpec
    ) -> rule.Standing:
        """Return how near a route is to its next build."""
        new = await self.verdicts.new(connection, state)
        refused_for_this = state.refusal and state.refusal.spec == spec.model_dump(mode="json")
        return rule.Standing(
            new=new.in_all,
            new_after_drift=new.after_drift,
            drift_id=state.drift_id,
            confirmed=state.confirmed,
            building=bool(state.building),
            since_refusal=new.since_attempt,
            wait=state.wait if refused_for_this else 0,
        )

    async def built(
        self,
        tx: AsyncConnection,
        order: BuildOrder,
        event: DatasetBuilt,
        manifest: str,
        lost_labels: Mapping[str, int],
    ) -> None:
        """Store a dataset, and disarm the drift that it answers."""
        await self.datasets.add(tx, event, manifest)
        state = await self.builds.locked(tx, order.route)
        if state.drift_id == order.drift_id:
            state = replace(state, drift_id=None, drift_us=None, confirmed=False)
        state = replace(
            state,
            built=order.build,
            building=0,
            wait=0,
            refusal=None,
            dataset_id=event.dataset_id,
            lost_labels=lost_labels,
        )
        await self.builds.save(tx, state)
        await self._consider(tx, state)

    async def refused(self, tx: AsyncConnection, order: BuildOrder, because: Refused) -> None:
        """Store why a build gave no dataset."""
        refusal = Refusal(
            build=order.build,
            error=because.name,
            detail=str(because),
            spec=order.spec.model_dump(mode="json"),
            clusters=tuple(because.clusters),
            lost=because.lost,
        )
        state = await self.builds.locked(tx, order.route)
        wait = rule.wait_after_refusal(because.missing, order.drift_id, order.spec.retrain)
        lost = because.lost_labels or state.lost_labels
        state = replace(state, building=0, wait=wait, refusal=refusal, lost_labels=lost)
        await self.builds.save(tx, state)
        await self._consider(tx, state)

    async def reopen(self, tx: AsyncConnection, order: BuildOrder) -> None:
        """Take the same build up once more. Raises BuildRunning, and BuildOutdated where a newer
        one was ordered.
        """
        state = await self.builds.locked(tx, order.route)
        if state.building:
            raise BuildRunning(order.route, state.building)
        if state.attempts != order.build:
            raise BuildOutdated(order)
        await self.builds.save(tx, replace(state, building=order.build))

    async def _consider(self, tx: AsyncConnection, state: BuildState) -> None:
        """Order a build when the rule says so and no brake holds it.

        A route not yet announced waits for that.
        """
        spec = await self._spec(tx, state.route)
        if spec is None:
            return
        because = rule.reason_to_build(await self.standing(tx, state, spec), spec.retrain)
        held = await self.held_back(tx, state.route, spec) if because else None
        if because and held and state.held != held.brake:
            await self._say_held(tx, state, because, held)
        brake = held.brake if held else None
        if brake != state.held:
            state = replace(state, held=brake)
            await self.builds.save(tx, state)
        if because and not held:
            await self._order(tx, state, spec, because)

    async def held_back(
        self, connection: AsyncConnection, route: str, spec: RouteSpec
    ) -> rule.Held | None:
        """Return which brake would hold the route's next dataset back now."""
        most = spec.retrain.most_a_week or 1
        built = await self.datasets.built(connection, route, most)
        return rule.held_back(built, spec.retrain, datetime.now(UTC))

    async def _say_held(
        self, tx: AsyncConnection, state: BuildState, because: str, held: rule.Held
    ) -> None:
        event = RetrainHeld(
            tenant=state.route.partition("/")[0],
            route=state.route,
            brake=held.brake,
            because=because,
            until=held.until,
            drift_id=state.drift_id,
        )
        await self.outbox.add(tx, event)
        log("ledger").info("dataset held back", route=state.route, brake=held.brake)

    async def _spec(self, tx: AsyncConnection, route: str) -> RouteSpec | None:
        """Return what a route is; None where that was not heard yet."""
        try:
            return (await self.routes.get(tx, route)).spec
        except RouteUnknown:
            return None

    async def _order(
        self,
        tx: AsyncConnection,
        state: BuildState,
        spec: RouteSpec,
        because: str,
        accept_losses: bool = False,
    ) -> int:
        build = state.attempts + 1
        order = BuildOrder(
            route=state.route,
            build=build,
            because=because,
            spec=spec,
            parent=state.dataset_id,
            drift_id=state.drift_id,
            accept_losses=accept_losses,
            meaning_us=state.meaning_us or 0,
        )
        await self.jobs.add(tx, JOB, f"{state.route}#{build}", order.model_dump(mode="json"))
        await self.builds.save(tx, replace(state, attempts=build, building=build))
        return build


def answers_of(spec: RouteSpec) -> tuple[object, ...]:
    """Return what decides which answers a route may give."""
    return spec.task, spec.labels, spec.output_schema

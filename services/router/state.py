"""What a route is at one moment, and the moves from one such state to the next. Pure: `Routes` says
what keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import AdapterRef, Confidence, Value
from schemas.events import (
    AdapterEvaluated,
    CalibrationFitted,
    ChallengerState,
    Probe,
    ReviewCompleted,
    RouteChanged,
)
from schemas.route import RouteSpec
from services.router.confidence import calibrated


class RouteState(Value):
    """`previous` is the champion before this one, kept loaded so that a rollback is instant.

    A change of a prompt makes other answers: what was calibrated on the old prompt is void
    (`tuned_since`, `detailed_since`).
    """

    version: int = Field(ge=1)
    spec: RouteSpec
    champion: AdapterRef | None = None
    challenger: ChallengerState | None = None
    previous: AdapterRef | None = None
    tuned_since: float = 0.0
    detailed_since: float = 0.0

    @property
    def route(self) -> str:
        return self.spec.name

    @property
    def tenant(self) -> str:
        return self.spec.name.partition("/")[0]

    @property
    def adapters(self) -> tuple[AdapterRef, ...]:
        """What must be loaded, the most needed first."""
        found = (self.champion, self.challenger.adapter if self.challenger else None, self.previous)
        return tuple(adapter for adapter in found if adapter)

    def next(self, **changes: object) -> RouteState:
        return self.model_copy(update={"version": self.version + 1, **changes})

    def respecified(self, spec: RouteSpec, at: float) -> RouteState:
        """The same route under a new spec; itself when nothing changed."""
        if spec == self.spec:
            return self
        tuned = self.tuned_since if spec.tuned_messages(()) == self.spec.tuned_messages(()) else at
        detailed = (
            self.detailed_since
            if spec.detailed_messages(()) == self.spec.detailed_messages(())
            else at
        )
        return self.next(spec=spec, tuned_since=tuned, detailed_since=detailed)

    def challenged(self, adapter: AdapterRef, share: float) -> RouteState:
        return self.next(challenger=ChallengerState(adapter=adapter, share=share))

    def promoted(self) -> RouteState:
        return self.next(champion=self.challenger.adapter, previous=self.champion, challenger=None)

    def retracted(self) -> RouteState:
        return self.next(challenger=None)

    def rolled_back(self, to: AdapterRef | None) -> RouteState:
        return self.next(champion=to, previous=None, challenger=None)

    def as_event(self, because: str, actor: str) -> RouteChanged:
        return RouteChanged(
            tenant=self.tenant,
            route=self.route,
            version=self.version,
            spec=self.spec,
            champion=self.champion,
            challenger=self.challenger,
            because=because,
            actor=actor,
        )


@dataclass(frozen=True)
class RouteView:
    """A route with what its requests need, held in memory. `calibrations` has the base model under
    None.
    """

    state: RouteState
    calibrations: dict[str | None, CalibrationFitted] = field(default_factory=dict)
    probes: dict[str, Probe | None] = field(default_factory=dict)
    canary_since: float | None = None

    def calibrate(self, confidence: Confidence, adapter_id: str | None) -> Confidence:
        fitted = self.calibrations.get(adapter_id)
        since = self.state.tuned_since if adapter_id else self.state.detailed_since
        return (
            calibrated(confidence, fitted)
            if fitted and fitted.occurred_at.timestamp() >= since
            else confidence
        )


@runtime_checkable
class Routes(Protocol):
    """The routes and what is known of their adapters."""

    async def load(self, tx: AsyncConnection, route: str) -> RouteState: ...
    async def find(self, tx: AsyncConnection, route: str) -> RouteState | None: ...
    async def save(
        self, tx: AsyncConnection, old: RouteState | None, new: RouteState, because: str, actor: str
    ) -> None: ...
    async def served_before(self, tx: AsyncConnection, route: str, adapter_id: str) -> bool: ...
    async def add_evaluation(
        self, tx: AsyncConnection, event: AdapterEvaluated, decision: str
    ) -> bool: ...
    async def evaluation(
        self, tx: AsyncConnection, route: str, adapter_id: str
    ) -> AdapterEvaluated | None: ...
    async def add_calibration(self, tx: AsyncConnection, event: CalibrationFitted) -> None: ...
    async def add_outcome(self, tx: AsyncConnection, event: ReviewCompleted) -> None: ...
    async def start_canary(
        self, tx: AsyncConnection, route: str, adapter_id: str, at: float
    ) -> None: ...
    async def canary_counts(
        self, connection: AsyncConnection, route: str, adapter_id: str
    ) -> tuple[int, int]: ...
    async def views(self, connection: AsyncConnection) -> dict[str, RouteView]: ...
    async def marker(self, connection: AsyncConnection) -> tuple[int, ...]: ...

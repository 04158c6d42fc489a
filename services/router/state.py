"""What a route is at one moment, and the moves from one such state to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import Field

from schemas.base import AdapterRef, Confidence, Message, Value
from schemas.events import CalibrationFitted, ChallengerState, Probe, RouteChanged
from schemas.route import RouteSpec
from services.router.confidence import calibrated, is_confident


class RouteState(Value):
    """Which adapters serve a route, and since when its prompts are what they are."""

    version: int = Field(ge=1)
    spec: RouteSpec
    champion: AdapterRef | None = None
    challenger: ChallengerState | None = None
    # The champion before this one, kept loaded so that a rollback is instant.
    previous: AdapterRef | None = None
    # Seconds since the epoch at which the prompt of adapters and that of the base model changed:
    # another prompt makes other answers, so that what was calibrated before is void.
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
        """Return what must be loaded, the most needed first."""
        found = (self.champion, self.challenger.adapter if self.challenger else None, self.previous)
        return tuple(adapter for adapter in found if adapter)

    def next(self, **changes: object) -> RouteState:
        return self.model_copy(update={"version": self.version + 1, **changes})

    def respecified(self, spec: RouteSpec, at: float) -> RouteState:
        """Return the route under a new spec; the same object when nothing changed."""
        if spec == self.spec:
            return self
        sent = (Message(role="system", content="what an app says"),)
        same_tuned = spec.tuned_messages(sent) == self.spec.tuned_messages(sent)
        same_detailed = spec.detailed_messages(sent) == self.spec.detailed_messages(sent)
        return self.next(
            spec=spec,
            tuned_since=self.tuned_since if same_tuned else at,
            detailed_since=self.detailed_since if same_detailed else at,
        )

    def challenged(self, adapter: AdapterRef, share: float) -> RouteState:
        return self.next(challenger=ChallengerState(adapter=adapter, share=share))

    def promoted(self) -> RouteState:
        """Return the state with the challenger as champion; itself when there is no challenger."""
        if self.challenger is None:
            return self
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


NO_CHANCE = Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0)
CERTAIN = NO_CHANCE.model_copy(update={"score": 1.0})


@dataclass(frozen=True)
class RouteView:
    """A route with what its requests need, held in memory."""

    state: RouteState
    # By adapter id; the base model's is under None.
    calibrations: dict[str | None, CalibrationFitted] = field(default_factory=dict)
    probes: dict[str, Probe | None] = field(default_factory=dict)
    # Seconds since the epoch; None until the challenger is proven to be loaded.
    canary_since: float | None = None

    def never_trusts(self, adapter_id: str | None) -> bool:
        """Say whether, by its calibration, no answer of an arm could be trusted, however sure."""
        ends = (NO_CHANCE, CERTAIN)
        judged = [self.calibrate(end, adapter_id) for end in ends]
        return judged[0].p_correct is not None and not any(map(is_confident, judged))

    def calibrate(self, confidence: Confidence, adapter_id: str | None) -> Confidence:
        """Add P(correct) to a confidence, where the arm is calibrated for its present prompt."""
        fitted = self.calibrations.get(adapter_id)
        since = self.state.tuned_since if adapter_id else self.state.detailed_since
        if fitted is None or fitted.occurred_at.timestamp() < since:
            return confidence
        return calibrated(confidence, fitted)

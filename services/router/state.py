"""What a route is at one moment, and the moves from one such state to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from pydantic import Field

from schemas.answers import is_free_text
from schemas.base import AdapterRef, Confidence, Message, Value
from schemas.evaluation import Probe
from schemas.events import CalibrationFitted, ChallengerState, RouteChanged
from schemas.route import Guarantee, RouteSpec
from services.router.confidence import calibrated, is_confident
from shared.rules import Form, Grammar, form_of, population


class RouteState(Value):
    """Which adapters serve a route, and since when its prompts are what they are."""

    version: int = Field(ge=1)
    spec: RouteSpec
    champion: AdapterRef | None = None
    challenger: ChallengerState | None = None
    # The champion before this one, kept loaded so that a rollback is instant.
    previous: AdapterRef | None = None
    # Seconds since the epoch at which the prompt of adapters and that of the base model changed:
    # for calibrations of older releases, which do not name what they hold for.
    tuned_since: float = 0.0
    detailed_since: float = 0.0
    # When the champion came, for as long as it may be rolled back by evidence; and until when a
    # rollback keeps others out. Seconds since the epoch.
    promoted_at: float | None = None
    frozen_until: float = 0.0

    def is_frozen(self, at: float) -> bool:
        return at < self.frozen_until

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

    def promoted(self, at: float) -> RouteState:
        """Return the state with the challenger as champion; itself when there is no challenger."""
        if self.challenger is None:
            return self
        return self.next(
            champion=self.challenger.adapter,
            previous=self.champion,
            challenger=None,
            promoted_at=at,
        )

    def retracted(self) -> RouteState:
        return self.next(challenger=None)

    def rolled_back(self, to: AdapterRef | None, frozen_until: float) -> RouteState:
        """Return the state with an earlier champion, which nothing challenges for a while."""
        return self.next(
            champion=to,
            previous=None,
            challenger=None,
            promoted_at=None,
            frozen_until=frozen_until,
        )

    def unfrozen(self) -> RouteState:
        return self.next(frozen_until=0.0)

    def as_event(
        self, because: str, actor: str, evidence: dict[str, float] | None = None
    ) -> RouteChanged:
        return RouteChanged(
            tenant=self.tenant,
            route=self.route,
            version=self.version,
            spec=self.spec,
            champion=self.champion,
            challenger=self.challenger,
            because=because,
            actor=actor,
            evidence=evidence or {},
        )


NO_CHANCE = Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0)
CERTAIN = NO_CHANCE.model_copy(update={"score": 1.0})


class Asked(NamedTuple):
    """How an arm is asked at the moment; the base model is adapter None."""

    adapter_id: str | None
    engine: str
    step: int
    # The calibration of the adapter that was not sure, where the base model is asked after it.
    behind: str | None = None


@dataclass(frozen=True)
class RouteView:
    """A route with what its requests need, held in memory."""

    state: RouteState
    # Of each arm the newest of each population and of what it stands behind, the oldest first.
    calibrations: tuple[CalibrationFitted, ...] = ()
    probes: dict[str, Probe | None] = field(default_factory=dict)
    # Seconds since the epoch; None until the challenger is proven to be loaded.
    canary_since: float | None = None
    _fitted: dict[Asked, CalibrationFitted | None] = field(default_factory=dict)

    @cached_property
    def form(self) -> Form:
        return form_of(self.state.spec)

    def base_never_trusts(self, behind: str | None, grammar: Grammar, guarantee: Guarantee) -> bool:
        """Say whether no answer of the base model could be trusted behind an adapter, however sure.

        Where it is not calibrated a strict route knows that, and one of free text, which never is.
        """
        fitted = self.fitted(None, grammar, behind)
        if fitted is None:
            return guarantee == "strict" or is_free_text(self.state.spec)
        ends = (calibrated(end, fitted) for end in (NO_CHANCE, CERTAIN))
        return not any(is_confident(end, guarantee) for end in ends)

    def calibrate(
        self,
        confidence: Confidence,
        adapter_id: str | None,
        grammar: Grammar,
        behind: str | None = None,
    ) -> Confidence:
        """Add P(correct) to a confidence, where the arm is calibrated for just what serves."""
        fitted = self.fitted(adapter_id, grammar, behind)
        return calibrated(confidence, fitted) if fitted else confidence

    def fitted(
        self, adapter_id: str | None, grammar: Grammar, behind: str | None = None
    ) -> CalibrationFitted | None:
        """Return the calibration of an arm that holds for how it is asked now; of the base model
        behind an adapter the one on the answers that adapter was unsure of.

        Those are the hard ones: a certificate on all of them says nothing there, and only a
        best-effort route makes do with it.
        """
        asked = Asked(adapter_id, grammar.engine, grammar.step(self.form), behind)
        if asked not in self._fitted:
            self._fitted[asked] = self._find(asked)
        return self._fitted[asked]

    def in_use(self, grammar: Grammar) -> list[CalibrationFitted]:
        """Return the calibrations that requests are judged by now: of the base model asked first,
        of each adapter, and of the base model behind it.
        """
        first = [self.fitted(None, grammar)]
        for adapter in self.state.adapters:
            own = self.fitted(adapter.adapter_id, grammar)
            behind = self.fitted(None, grammar, own.calibration_id) if own else None
            first += [own, behind]
        return list({one.calibration_id: one for one in first if one}.values())

    def is_void(self, adapter_id: str | None, grammar: Grammar) -> bool:
        """Say whether an arm was calibrated, and only for something else than serves now."""
        known = any(fitted.adapter_id == adapter_id for fitted in self.calibrations)
        return known and self.fitted(adapter_id, grammar) is None

    def _find(self, asked: Asked) -> CalibrationFitted | None:
        of_arm = self._behind(asked.adapter_id, asked.behind)
        wanted = population(self.state.spec, asked.adapter_id, asked.engine, asked.step)
        for fitted in reversed(of_arm):
            if fitted.holds_for == wanted:
                return fitted
        if asked.step == 0 and of_arm and all(one.holds_for is None for one in of_arm):
            return of_arm[-1] if self._holds_without_digest(of_arm[-1]) else None
        return None

    def _behind(self, adapter_id: str | None, behind: str | None) -> list[CalibrationFitted]:
        of_arm = [one for one in self.calibrations if one.adapter_id == adapter_id]
        found = [one for one in of_arm if one.behind == behind]
        if found or behind is None or self.state.spec.guarantee == "strict":
            return found
        return [one for one in of_arm if one.behind is None]

    def _holds_without_digest(self, fitted: CalibrationFitted) -> bool:
        """Say whether a calibration of an older release, which names nothing, still holds: the base
        model was asked for labels as it is now, and every other answer otherwise.
        """
        spec = self.state.spec
        return (
            fitted.adapter_id is None
            and spec.task == "classification"
            and fitted.alpha == spec.targets.max_risk
            and fitted.occurred_at.timestamp() >= self.state.detailed_since
        )

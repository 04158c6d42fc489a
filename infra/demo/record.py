"""What was measured while the story was told, and whether each act succeeded by it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from infra.demo.risk import kept_by, told
from infra.demo.traffic import AnsweredMessage, accuracy
from schemas.base import JsonObject

ACT_1_POINTS = 30
ACT_2_POINTS = 20
BASE = "1 base model"
FIRST = "2 version 1"
NEW_REQUESTS = "3 new requests"
LABELS_ADDED = "4 labels added"
SECOND = "5 version 2"


@dataclass
class Phase:
    name: str
    answered: list[AnsweredMessage]
    reviewed: int


@dataclass(frozen=True)
class Moment:
    """Something that happened, `at` so many seconds after the start."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True)
class Step:
    name: str
    seconds: float


@dataclass(frozen=True)
class ActResult:
    act: str
    passed: bool
    words: str


@dataclass
class Record:
    """Everything the report needs; `started` by the monotonic clock."""

    started: float
    # Tolerated error among trusted answers, as the route has it.
    max_risk: float
    phases: list[Phase] = field(default_factory=list)
    happened: list[Moment] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    # As the evaluator gives them, with the `name` of the version that was judged.
    evaluations: list[JsonObject] = field(default_factory=list)

    def keep(self, name: str, answered: list[AnsweredMessage], reviewed: int) -> None:
        """Add answers to the phase of this name, which begins with its first ones."""
        known = next((phase for phase in self.phases if phase.name == name), None)
        if known:
            known.answered += answered
            known.reviewed += reviewed
        else:
            self.phases.append(Phase(name, answered, reviewed))

    def mark(self, kind: str, text: str) -> None:
        self.happened.append(Moment(time.monotonic() - self.started, kind, text))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.steps.append(Step(step, time.monotonic() - began))

    def results(self) -> list[ActResult]:
        """Say of each act that was told whether it succeeded, by measurement."""
        base = accuracy(self._answered(BASE))
        tuned = accuracy(self._answered(FIRST))
        first = result("act 1", "accuracy", base, tuned, ACT_1_POINTS)
        first_and_risk = [first, self._risk()]
        if not any(phase.name == NEW_REQUESTS for phase in self.phases):
            return first_and_risk
        low = accuracy(late([*self._answered(NEW_REQUESTS), *self._answered(LABELS_ADDED)]))
        recovered = accuracy(late(self._answered(SECOND)))
        return [
            *first_and_risk,
            result("act 2", "accuracy on the late labels", low, recovered, ACT_2_POINTS),
        ]

    def _risk(self) -> ActResult:
        """Say whether certificates kept their word, while requests were of the kind that they were
        made for: what comes after is for the monitors.
        """
        names = [phase.name for phase in self.phases]
        until = names.index(NEW_REQUESTS) if NEW_REQUESTS in names else len(names)
        kept = kept_by([one for phase in self.phases[:until] for one in phase.answered])
        broken = any(one.breaks(self.max_risk) for one in kept)
        to_people = [one for one in self._answered(FIRST) if one.outcome == "unsure"]
        return ActResult("certificates", not broken, told(kept, self.max_risk, to_people))

    def _answered(self, name: str) -> list[AnsweredMessage]:
        return next(phase.answered for phase in self.phases if phase.name == name)


def late(answered: list[AnsweredMessage]) -> list[AnsweredMessage]:
    return [one for one in answered if one.late]


def result(act: str, measure: str, before: float, after: float, needed: int) -> ActResult:
    points = (after - before) * 100
    return ActResult(
        act,
        points >= needed,
        f"{measure} {before:.0%} -> {after:.0%} ({points:+.0f} points, at least +{needed} needed)",
    )

"""Who is asked one question, in which order, and for how long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

from schemas.answers import trimmed
from schemas.base import Arm, Attempt
from services.router.breakers import Breakers
from services.router.chat import ChatQuestion
from services.router.fleet import Fleet
from services.router.live import Live
from services.router.rollout import Pick
from services.router.state import RouteView
from services.router.tries import Try
from services.router.upstream import (
    ModelMissing,
    Upstream,
    UpstreamAway,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamUnfit,
)
from services.router.wishes import Terms
from shared.errors import RatchetError
from shared.rules import FREE, Completion, Patience

# Worth asking another model instead. A vLLM that is away is not: it holds both.
MODEL_FAILED = (
    ModelMissing,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamUnfit,
)
# What says nothing of the model that was asked.
NOT_ITS_FAULT = (UpstreamBusy, UpstreamRefused)
# Of the time that is left: so that the base model has as much as the adapter before it.
ADAPTER_SHARE = 0.5
# Seconds without an answer after which it is the model's fault, and not the caller's impatience.
LONG = 10.0
# Seconds within which a caller that leaves has changed their mind.
SOON = 1.0


@dataclass
class Course:
    """What happened so far to one request. It outlives an error, and a caller that leaves."""

    view: RouteView
    pick: Pick
    question: ChatQuestion
    terms: Terms
    # By `time.monotonic`.
    deadline: float
    tries: list[Try] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # When the model that has the question now was asked.
    asked_at: float | None = None
    # Whether the picked adapter was asked and gave no answer, for a reason that lies with it.
    adapter_failed: bool = False
    # Where the app reads along.
    live: Live | None = None

    @property
    def has_begun(self) -> bool:
        """Say whether the app has read a part of the answer: no other model can give it then."""
        return self.live is not None and self.live.has_begun

    @property
    def judged_by(self) -> str | None:
        """Return the calibration by which an adapter was not sure, for who is asked after it."""
        confidence = self.tries[0].attempt.confidence if self.tries else None
        return confidence.calibration_id if confidence else None

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass
class Chain:
    """Asks the picked adapter, and the base model where that was not sure and it may help."""

    fleet: Fleet
    upstream: Upstream
    breakers: Breakers
    base_model: str
    # Seconds that an answer may take.
    patience: float

    def serving(self, route: str, adapter_id: str) -> bool:
        """Say whether an adapter may be asked: proven to be loaded, and not resting."""
        return self.fleet.serving(adapter_id) and self.breakers.lets(route, adapter_id)

    def is_well(self, route: str, adapter_id: str | None) -> bool:
        """Say whether a model may be asked beside others: it is loaded, and not resting."""
        model = adapter_id or self.base_model
        loaded = adapter_id is None or self.fleet.serving(adapter_id)
        return loaded and not self.breakers.rests(route, model)

    async def alone(self, course: Course, arm: Arm, adapter_id: str | None) -> Try:
        """Ask one model the question of a request, whatever becomes of it; nobody is told."""
        unread = replace(course, tries=[], notes=[], live=None)
        return await self._answer(unread, arm, adapter_id, self.patience * ADAPTER_SHARE)

    async def ask(self, course: Course) -> None:
        """Fill in the tries of a request, at least one. Raises what the last model raised."""
        pick = course.pick
        if pick.waiting_for:
            course.notes.append(f"{pick.waiting_for} is not loaded yet, or rests")
        if pick.adapter_id:
            try:
                with self.fleet.asked(pick.adapter_id):
                    await self._try(course, pick.arm, pick.adapter_id)
            except MODEL_FAILED as error:
                if course.has_begun:
                    raise
                course.notes.append(f"{pick.adapter_id} did not answer: {error.name}")
        if course.has_begun:
            return
        if course.tries and (course.tries[0].trusted or self._base_is_no_help(course)):
            return
        try:
            await self._try(course, "base", None)
        except (*MODEL_FAILED, UpstreamAway) as error:
            if not course.tries or course.has_begun:
                raise
            course.notes.append(f"the base model did not answer: {error.name}")

    def _base_is_no_help(self, course: Course) -> bool:
        """Say whether the base model is left out after an answer that was not trusted."""
        route, spec = course.view.state.route, course.view.state.spec
        first = course.tries[0]
        # What lacks a certificate alone gives way to one, and to nothing less.
        waits = first.is_provisional(spec.targets.max_risk)
        guarantee = spec.guarantee if waits else "best-effort"
        grammar = self.upstream.grammar
        if first.formed and course.view.base_never_trusts(course.judged_by, grammar, guarantee):
            course.notes.append(
                "the base model was not asked: by its calibration no answer of it is trusted here"
            )
            return True
        if not self.breakers.lets(route, self.base_model):
            course.notes.append("the base model was not asked: it gave no answer to the last ones")
            return True
        return False

    async def _try(self, course: Course, arm: Arm, adapter_id: str | None) -> None:
        """Ask one model, and note what became of it."""
        route = course.view.state.route
        model = adapter_id or self.base_model
        seconds = course.left * (ADAPTER_SHARE if adapter_id else 1.0)
        started = time.monotonic()
        course.asked_at = started
        try:
            course.tries.append(await self._answer(course, arm, adapter_id, seconds))
        except asyncio.CancelledError:
            # Whether it hangs or its callers are impatient: three in a row, and it rests.
            if time.monotonic() - started >= SOON and not course.has_begun:
                self.breakers.failed(route, model)
            raise
        except MODEL_FAILED as error:
            course.asked_at = None
            self._note_failure(course, error, model, time.monotonic() - started)
            raise
        course.asked_at = None
        self.breakers.answered(route, model)
        self.fleet.unfit = None

    def _note_failure(
        self, course: Course, error: RatchetError, model: str, seconds: float
    ) -> None:
        if isinstance(error, ModelMissing):
            self.fleet.forget(model)
        elif isinstance(error, UpstreamUnfit):
            self.fleet.unfit = str(error)
        impatient = isinstance(error, UpstreamSilent) and not self.is_long(seconds)
        if not impatient and not isinstance(error, NOT_ITS_FAULT):
            self.breakers.failed(course.view.state.route, model)
            course.adapter_failed |= model == course.pick.adapter_id

    def is_long(self, seconds: float) -> bool:
        """Say whether so long a silence is the model's fault."""
        return seconds >= min(LONG, 0.9 * ADAPTER_SHARE * self.patience)

    async def _answer(
        self, course: Course, arm: Arm, adapter_id: str | None, seconds: float
    ) -> Try:
        spec = course.view.state.spec
        model = adapter_id or self.base_model
        started = time.perf_counter()
        asked = course.question.messages
        messages = spec.tuned_messages(asked) if adapter_id else spec.detailed_messages(asked)
        form = course.terms.form(course.view.form)
        limit = course.terms.max_tokens
        if course.live is None:
            completion = await self.upstream.ask_in_form(model, messages, limit, form, seconds)
        else:
            bounds = self.upstream.grammar.bounds(form)
            patience = Patience(seconds, course.deadline)
            try:
                completion = await self.upstream.ask_live(
                    model, messages, limit, bounds, patience, course.live
                )
            except (RatchetError, asyncio.CancelledError):
                if course.has_begun:
                    latency_ms = (time.perf_counter() - started) * 1000
                    cut = course.live.so_far(latency_ms, bounds)
                    course.tries.append(self._judged(course, arm, adapter_id, cut, latency_ms))
                raise
        latency_ms = (time.perf_counter() - started) * 1000
        return self._judged(course, arm, adapter_id, completion, latency_ms)

    def _judged(
        self,
        course: Course,
        arm: Arm,
        adapter_id: str | None,
        completion: Completion,
        latency_ms: float,
    ) -> Try:
        """Put together what a model gave, and what is to be thought of it."""
        spec, terms = course.view.state.spec, course.terms
        # Who reads along has read the white space, too.
        answers = [
            one.answer if course.live else trimmed(one.answer, spec)
            for one in (completion, *completion.others)
        ]
        attempt = Attempt(
            arm=arm,
            model=adapter_id or self.base_model,
            adapter_id=adapter_id,
            answer=answers[0],
            alternatives=tuple(answers[1:]),
            thought=completion.thought or "",
            latency_ms=latency_ms,
            confidence=completion.confidence
            if terms.bounds != FREE
            else course.view.calibrate(
                completion.confidence, adapter_id, self.upstream.grammar, course.judged_by
            ),
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
        )
        # A label is whole or none; anything else that was cut may end in the middle of a number.
        whole = completion.finish_reason != "length" or bool(spec.labels)
        return Try(attempt, completion, whole and terms.fits(answers[0], spec), spec.guarantee)

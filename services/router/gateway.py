"""One request from the question to the recorded answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from functools import partial

from schemas.base import JsonObject, uuid7
from services.router.answers import ChatAnswer, Drawn, Outcome, with_alternatives
from services.router.chain import Chain, Course
from services.router.chat import ChatQuestion
from services.router.live import Live
from services.router.metrics import Meters
from services.router.repeats import Repeatable
from services.router.rollout import BASE, Pick, pick_arm
from services.router.served import KeptRepeat, Unanswered, as_served
from services.router.shadows import Shadows
from services.router.store.recorder import Recorder
from services.router.table import RouteTable
from services.router.tries import Try, choose
from services.router.turns import Turns
from services.router.wishes import Terms, Wishes
from shared.describing import describe
from shared.errors import RatchetError
from shared.rules import Completion
from shared.telemetry import log

# Of the time that a caller waits: what is left is the way back.
CALLERS_SHARE = 0.9


@dataclass
class Gateway:
    """Has the question of an app answered, and records the answer."""

    table: RouteTable
    chain: Chain
    recorder: Recorder
    turns: Turns
    shadows: Shadows
    meters: Meters = field(default_factory=Meters)

    async def answer(
        self,
        tenant: str,
        asked: ChatQuestion,
        waits: float | None = None,
        may_repeat: Repeatable | None = None,
        live: Live | None = None,
    ) -> ChatAnswer:
        """Return the answer once it is durable; `waits` are the seconds that the caller has. On
        live routes it is passed on to `live` before that.

        Raises BacklogFull where it could not be kept. What was given to an adapter counts for it,
        whatever becomes of the request.
        """
        await self.recorder.check_room()
        started = time.perf_counter()
        patience = min(self.chain.patience, CALLERS_SHARE * (waits or float("inf")))
        deadline = time.monotonic() + patience
        view = await self.table.of(asked.route, tenant)
        terms = Terms.of(asked.wishes, view.state.spec, asked.messages)
        serving = partial(self.chain.serving, asked.route)
        # An adapter for free text is neither trained nor judged with tools.
        with_tools = terms.bounds.tools is not None
        pick = BASE if with_tools else pick_arm(view.state, asked.session, serving)
        # Nobody knows yet what a challenger says: the app must not read it before it is judged.
        is_live = live and view.state.spec.stream == "live" and pick.arm != "challenger"
        reader = live if is_live and terms.can_be_live else None
        course = Course(view, pick, asked, terms, deadline, live=reader)
        try:
            await self._take_turn(tenant, course)
        except (RatchetError, asyncio.CancelledError):
            self.meters.unanswered(asked.route, pick.arm, time.perf_counter() - started)
            if course.has_begun and course.tries:
                await self._cut(tenant, course, started)
            else:
                await self._unanswered(tenant, course)
            raise
        answered, failed = self._decide(course)
        latency_ms = (time.perf_counter() - started) * 1000
        repeat = kept_for(may_repeat, answered) if may_repeat else None
        served = as_served(tenant, asked, answered, latency_ms, pick.adapter_id, failed, repeat)
        await self.recorder.record(served, view.state.spec.durability)
        self.meters.answered(answered, time.perf_counter() - started)
        if view.state.spec.canary.shadow:
            self.shadows.ask(course, answered.inference_id)
        return answered

    async def _take_turn(self, tenant: str, course: Course) -> None:
        if self.turns.is_full:
            self.shadows.make_room()
        await self.turns.take(tenant)
        try:
            await self.chain.ask(course)
        finally:
            self.turns.leave(tenant)

    def _decide(self, course: Course) -> tuple[ChatAnswer, bool]:
        """Return the answer, and whether the picked adapter failed."""
        pick, tries = course.pick, course.tries
        chosen, outcome = chosen_of(pick, tries)
        targets = course.view.state.spec.targets
        wishes, tools = course.question.wishes, course.terms.bounds.tools
        answered = ChatAnswer(
            inference_id=course.live.inference_id if course.live else uuid7(),
            route=course.question.route,
            attempt=chosen.attempt,
            outcome=outcome,
            is_provisional=outcome == "unsure" and chosen.is_provisional(targets.max_risk),
            route_version=course.view.state.version,
            attempts=tuple(one.attempt for one in tries),
            finish_reason=chosen.completion.finish_reason,
            notes=tuple(course.notes),
            ignored=course.terms.ignored,
            tool=course.terms.tool,
            logprobs=logprobs_of(chosen.completion, wishes),
            drawn=tuple(
                Drawn(other.finish_reason, logprobs_of(other, wishes))
                for other in chosen.completion.others
            ),
            tools=tools.offered if tools else (),
        )
        return answered, course.adapter_failed or not_in_form(pick, tries[0])

    async def _cut(self, tenant: str, course: Course, started: float) -> None:
        """Record what was given of an answer whose app left, or whose engine broke off."""
        answered, _ = self._decide(course)
        cut = replace(answered, is_cut=True, outcome="unsure", is_provisional=False)
        latency_ms = (time.perf_counter() - started) * 1000
        pick, failed = course.pick, course.adapter_failed
        served = as_served(tenant, course.question, cut, latency_ms, pick.adapter_id, failed, None)
        spec = course.view.state.spec
        try:
            await asyncio.shield(self.recorder.record(served, spec.durability))
        except RatchetError as error:
            log("gateway").warning("a cut answer was not recorded", error=describe(error))

    async def _unanswered(self, tenant: str, course: Course) -> None:
        """Note a request that nobody answered for the adapter that had it: as its failure, unless
        the caller left soon.
        """
        adapter_id = course.pick.adapter_id
        had_it = course.asked_at is not None and not course.tries
        if adapter_id is None or not (course.adapter_failed or had_it):
            return
        waited = time.monotonic() - (course.asked_at or 0.0)
        failed = course.adapter_failed or self.chain.is_long(waited)
        lost = Unanswered(tenant, course.question.route, adapter_id, failed)
        try:
            await asyncio.shield(self.recorder.record_unanswered(lost))
        except RatchetError as error:
            log("gateway").warning("a failed request was not counted", error=describe(error))


def logprobs_of(completion: Completion, wishes: Wishes) -> list[JsonObject] | None:
    if wishes.alternatives is None:
        return None
    return with_alternatives(completion.tokens, wishes.alternatives)


def kept_for(request: Repeatable, answered: ChatAnswer) -> KeptRepeat:
    return KeptRepeat(
        key=request.key,
        request=request.request,
        inference_id=answered.inference_id,
        is_whole=True,
        finish_reason=answered.finish_reason,
        tool=answered.tool,
        at=time.time(),
    )


def chosen_of(pick: Pick, tries: list[Try]) -> tuple[Try, Outcome]:
    stands_in = tries[-1].attempt.arm == "base" and (
        pick.arm != "base" or pick.waiting_for is not None
    )
    return choose(tries, fallback=stands_in)


def not_in_form(pick: Pick, first: Try) -> bool:
    """Say whether the picked adapter gave no answer, or one that breaks the form of the route."""
    return pick.adapter_id is not None and (first.attempt.arm != pick.arm or not first.formed)

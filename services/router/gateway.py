"""One request from the question to the recorded answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

from prometheus_client import Counter, Histogram

from schemas.base import uuid7
from services.router.answers import ChatAnswer, Outcome, with_alternatives
from services.router.chain import Chain, Course
from services.router.chat import ChatQuestion
from services.router.repeats import Repeatable
from services.router.rollout import Pick, pick_arm
from services.router.served import KeptRepeat, Unanswered, as_served
from services.router.store.recorder import Recorder
from services.router.table import RouteTable
from services.router.tries import Try, choose
from services.router.turns import Turns
from services.router.wishes import Terms
from shared.describing import describe
from shared.errors import RatchetError
from shared.telemetry import log

ANSWERS = Counter("ratchet_router_answers_total", "Answers by outcome and arm", ["outcome", "arm"])
ANSWER_SECONDS = Histogram(
    "ratchet_router_answer_seconds", "Time from the parsed request to the durable answer"
)
# Of the time that a caller waits: what is left is the way back.
CALLERS_SHARE = 0.9


@dataclass
class Gateway:
    """Has the question of an app answered, and records the answer."""

    table: RouteTable
    chain: Chain
    recorder: Recorder
    turns: Turns

    async def answer(
        self,
        tenant: str,
        asked: ChatQuestion,
        waits: float | None = None,
        may_repeat: Repeatable | None = None,
    ) -> ChatAnswer:
        """Return the answer once it is durable; `waits` are the seconds that the caller has.

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
        pick = pick_arm(view.state, asked.session, serving)
        course = Course(view, pick, asked, terms, deadline)
        try:
            async with self.turns.turn(tenant):
                await self.chain.ask(course)
        except (RatchetError, asyncio.CancelledError):
            await self._unanswered(tenant, course)
            raise
        answered, failed = self._decide(course)
        latency_ms = (time.perf_counter() - started) * 1000
        repeat = kept_for(may_repeat, answered) if may_repeat else None
        served = as_served(tenant, asked, answered, latency_ms, pick.adapter_id, failed, repeat)
        # Kept also where the caller leaves now: the answer is there, and was paid for.
        await asyncio.shield(self.recorder.record(served))
        ANSWERS.labels(answered.outcome, answered.attempt.arm).inc()
        ANSWER_SECONDS.observe(time.perf_counter() - started)
        return answered

    def _decide(self, course: Course) -> tuple[ChatAnswer, bool]:
        """Return the answer, and whether the picked adapter failed."""
        pick, tries = course.pick, course.tries
        chosen, outcome = chosen_of(pick, tries)
        wishes = course.question.wishes
        answered = ChatAnswer(
            inference_id=uuid7(),
            route=course.question.route,
            attempt=chosen.attempt,
            outcome=outcome,
            route_version=course.view.state.version,
            attempts=tuple(one.attempt for one in tries),
            finish_reason=chosen.completion.finish_reason,
            notes=tuple(course.notes),
            ignored=course.terms.ignored,
            tool=course.terms.tool,
            logprobs=None
            if wishes.alternatives is None
            else with_alternatives(chosen.completion.tokens, wishes.alternatives),
        )
        return answered, course.adapter_failed or not_in_form(pick, tries[0])

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

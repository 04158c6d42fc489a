"""One request from the question to the recorded answer."""

from __future__ import annotations

import time
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from schemas.answers import trimmed, well_formed
from schemas.base import Arm, Attempt, uuid7
from services.router.chat import ChatAnswer, ChatQuestion
from services.router.fleet import Fleet
from services.router.rollout import Pick, pick_arm
from services.router.served import as_served
from services.router.state import RouteView
from services.router.store.recorder import Recorder
from services.router.table import RouteTable
from services.router.tries import Try, choose
from services.router.turns import Turns
from services.router.upstream import ModelMissing, Upstream, UpstreamFailed, UpstreamRefused

ANSWERS = Counter("ratchet_router_answers_total", "Answers by outcome and arm", ["outcome", "arm"])
ANSWER_SECONDS = Histogram(
    "ratchet_router_answer_seconds", "Time from the parsed request to the durable answer"
)
# Worth asking the base model instead. A vLLM that is away is not: it holds both.
ADAPTER_FAILED = (
    ModelMissing,
    UpstreamFailed,
    UpstreamRefused,
)


@dataclass
class Gateway:
    """Asks the picked adapter, then the base model where that is unsure, and records the answer."""

    table: RouteTable
    fleet: Fleet
    upstream: Upstream
    recorder: Recorder
    base_model: str
    turns: Turns

    async def answer(self, tenant: str, asked: ChatQuestion) -> ChatAnswer:
        """Return the answer once it is durable; raises BacklogFull where it could not be kept."""
        await self.recorder.check_room()
        started = time.perf_counter()
        view = await self.table.of(asked.route, tenant)
        pick = pick_arm(view.state, asked.session, self.fleet.serving)
        async with self.turns.turn(tenant):
            tries, note = await self._ask(view, pick, asked)
        stands_in = tries[-1].attempt.arm == "base" and (
            pick.arm != "base" or pick.waiting_for is not None
        )
        chosen, outcome = choose(tries, fallback=stands_in)
        latency_ms = (time.perf_counter() - started) * 1000
        answered = ChatAnswer(
            inference_id=uuid7(),
            route=asked.route,
            attempt=chosen.attempt,
            outcome=outcome,
            route_version=view.state.version,
            attempts=tuple(one.attempt for one in tries),
            finish_reason=chosen.completion.finish_reason,
            prompt_tokens=chosen.completion.prompt_tokens or 0,
            completion_tokens=chosen.completion.completion_tokens or 0,
            note=note,
        )
        failed = adapter_failed(pick, tries[0])
        await self.recorder.record(
            as_served(tenant, asked, answered, latency_ms, pick.adapter_id, failed)
        )
        ANSWERS.labels(outcome, chosen.attempt.arm).inc()
        ANSWER_SECONDS.observe(time.perf_counter() - started)
        return answered

    async def _ask(
        self, view: RouteView, pick: Pick, asked: ChatQuestion
    ) -> tuple[list[Try], str | None]:
        """Ask the picked adapter, and the base model unless the adapter was sure enough.

        Returns who was asked, in order, and why an adapter did not answer.
        """
        tries: list[Try] = []
        note = f"{pick.waiting_for} is not loaded yet" if pick.waiting_for else None
        if pick.adapter_id:
            try:
                tries.append(await self._try(view, asked, pick.arm, pick.adapter_id))
            except ADAPTER_FAILED as error:
                note = f"{pick.adapter_id} did not answer: {error.name}"
                if isinstance(error, ModelMissing):
                    self.fleet.forget(pick.adapter_id)
        if not tries or not tries[0].trusted:
            try:
                tries.append(await self._try(view, asked, "base", None))
            except ADAPTER_FAILED:
                if not tries:
                    raise
        return tries, note

    async def _try(
        self, view: RouteView, asked: ChatQuestion, arm: Arm, adapter_id: str | None
    ) -> Try:
        spec = view.state.spec
        model = adapter_id or self.base_model
        started = time.perf_counter()
        messages = (
            spec.tuned_messages(asked.messages)
            if adapter_id
            else spec.detailed_messages(asked.messages)
        )
        completion = await self.upstream.ask(
            model, messages, spec.max_tokens, () if adapter_id else spec.base_choices
        )
        attempt = Attempt(
            arm=arm,
            model=model,
            adapter_id=adapter_id,
            answer=trimmed(completion.answer, spec),
            latency_ms=(time.perf_counter() - started) * 1000,
            confidence=view.calibrate(completion.confidence, adapter_id),
        )
        return Try(attempt, completion, well_formed(attempt.answer, spec))


def adapter_failed(pick: Pick, first: Try) -> bool:
    """Say whether the picked adapter did not answer, or broke the format of the route."""
    return pick.adapter_id is not None and (first.attempt.arm != pick.arm or not first.formed)

"""One request from the question to the recorded answer: the picked adapter, then the base model
where that is unsure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from schemas.answers import well_formed
from schemas.base import Arm, Attempt, uuid7
from schemas.events import InferenceRecorded, ReviewRequested
from services.router import rollout
from services.router.chat import Answered, Asked
from services.router.confidence import is_confident, settle
from services.router.fleet import Fleet
from services.router.ports import (
    Decision,
    ModelMissing,
    Recorder,
    Reply,
    Upstream,
    UpstreamFailed,
    UpstreamRefused,
)
from services.router.state import RouteView
from services.router.table import RouteTable

ANSWERS = Counter("ratchet_router_answers_total", "Answers by outcome and arm", ["outcome", "arm"])
ANSWER_SECONDS = Histogram(
    "ratchet_router_answer_seconds", "Time from the parsed request to the durable answer"
)
NOT_THE_BASE_MODELS_FAULT = (
    ModelMissing,
    UpstreamFailed,
    UpstreamRefused,
)  # worth asking the base model; an absent vLLM is not


@dataclass
class Gateway:
    table: RouteTable
    fleet: Fleet
    upstream: Upstream
    recorder: Recorder
    base_model: str

    async def answer(self, tenant: str, asked: Asked) -> Answered:
        """The answer, after it is durable."""
        started = time.perf_counter()
        view = await self.table.of(asked.route, tenant)
        pick = rollout.pick(view.state, asked.session, self.fleet.serving)
        tries, note = await self._ask(view, pick, asked)
        attempts = [attempt for attempt, _ in tries]
        stands_in = attempts[-1].arm == "base" and (
            pick.arm != "base" or pick.waiting_for is not None
        )
        chosen, outcome = settle(attempts, fallback=stands_in)
        latency = (time.perf_counter() - started) * 1000
        reply = tries[attempts.index(chosen)][1]
        answered = Answered(
            inference_id=uuid7(),
            route=asked.route,
            attempt=chosen,
            outcome=outcome,
            route_version=view.state.version,
            attempts=tuple(attempts),
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens or 0,
            completion_tokens=reply.completion_tokens or 0,
            note=note,
        )
        failed = pick.adapter_id is not None and (
            attempts[0].arm != pick.arm or not well_formed(attempts[0].answer, view.state.spec)
        )
        await self.recorder.record(
            as_decision(tenant, asked, answered, latency, pick.adapter_id, failed)
        )
        ANSWERS.labels(outcome, chosen.arm).inc()
        ANSWER_SECONDS.observe(time.perf_counter() - started)
        return answered

    async def _ask(
        self, view: RouteView, pick: rollout.Pick, asked: Asked
    ) -> tuple[list[tuple[Attempt, Reply]], str | None]:
        """Every model asked, in order. The base model is asked last, unless the adapter was sure
        enough.
        """
        tries: list[tuple[Attempt, Reply]] = []
        note = f"{pick.waiting_for} is not loaded yet" if pick.waiting_for else None
        if pick.adapter_id:
            try:
                tries.append(await self._attempt(view, asked, pick.arm, pick.adapter_id))
            except NOT_THE_BASE_MODELS_FAULT as error:
                note = f"{pick.adapter_id} did not answer: {error.name}"
                if isinstance(error, ModelMissing):
                    self.fleet.forget(pick.adapter_id)
        if not tries or not is_confident(tries[0][0].confidence):
            try:
                tries.append(await self._attempt(view, asked, "base", None))
            except NOT_THE_BASE_MODELS_FAULT:
                if not tries:
                    raise
        return tries, note

    async def _attempt(
        self, view: RouteView, asked: Asked, arm: Arm, adapter_id: str | None
    ) -> tuple[Attempt, Reply]:
        spec = view.state.spec
        model = adapter_id or self.base_model
        started = time.perf_counter()
        messages = (
            spec.tuned_messages(asked.messages)
            if adapter_id
            else spec.detailed_messages(asked.messages)
        )
        reply = await self.upstream.ask(
            model, messages, spec.max_tokens, () if adapter_id else spec.base_choices
        )
        return (
            Attempt(
                arm=arm,
                model=model,
                adapter_id=adapter_id,
                answer=reply.answer.strip(),
                latency_ms=(time.perf_counter() - started) * 1000,
                confidence=view.calibrate(reply.confidence, adapter_id),
            ),
            reply,
        )


def as_decision(
    tenant: str,
    asked: Asked,
    answered: Answered,
    latency_ms: float,
    picked: str | None,
    failed: bool,
) -> Decision:
    chosen = answered.attempt
    inference = InferenceRecorded(
        tenant=tenant,
        route=asked.route,
        inference_id=answered.inference_id,
        messages=asked.messages,
        answer=chosen.answer,
        arm=chosen.arm,
        model=chosen.model,
        adapter_id=chosen.adapter_id,
        confidence=chosen.confidence,
        outcome=answered.outcome,
        attempts=answered.attempts,
        route_version=answered.route_version,
        latency_ms=latency_ms,
        prompt_tokens=answered.prompt_tokens,
        completion_tokens=answered.completion_tokens,
        metadata=asked.metadata,
    )
    review = None
    if answered.outcome == "unsure":
        review = ReviewRequested(
            tenant=tenant,
            route=asked.route,
            inference_id=answered.inference_id,
            confidence=chosen.confidence,
        )
    return Decision(inference, review, picked, failed)

"""The app of the demo: it asks the router through the official `openai` client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from openai import AsyncOpenAI

from infra.data.reading import Sample
from schemas.answers import same_answer
from schemas.route import RouteSpec

CONCURRENCY = 16
# The client backs off up to 8 s, which rides out a killed router or vLLM.
RETRIES = 12


@dataclass(frozen=True)
class AnsweredMessage:
    """One answered request, as the app saw it, and whether it was right."""

    inference_id: str
    at: float
    phase: str
    sample: Sample
    answer: str
    correct: bool
    late: bool
    arm: str
    outcome: str
    confidence: float | None
    seconds: float
    # Whether the threshold that it was judged by has a proof.
    certified: bool = False


class App:
    def __init__(
        self, router_url: str, api_key: str, spec: RouteSpec, late: set[str], started: float
    ) -> None:
        self.client = AsyncOpenAI(
            base_url=f"{router_url}/v1", api_key=api_key, max_retries=RETRIES, timeout=120
        )
        self.spec = spec
        self.late = late
        self.started = started
        self.answered: list[AnsweredMessage] = []

    async def send(
        self, phase: str, samples: list[Sample], advance: Callable[[], None]
    ) -> list[AnsweredMessage]:
        """Ask all samples, a few at a time; calls `advance` after each."""
        gate = asyncio.Semaphore(CONCURRENCY)

        async def one(sample: Sample) -> AnsweredMessage:
            async with gate:
                answered = await self._ask(phase, sample)
            advance()
            return answered

        return list(await asyncio.gather(*(one(sample) for sample in samples)))

    async def _ask(self, phase: str, sample: Sample) -> AnsweredMessage:
        began = time.monotonic()
        completion = await self.client.chat.completions.create(
            model=self.spec.name, messages=[{"role": "user", "content": sample.text}]
        )
        ratchet = (completion.model_extra or {})["ratchet"]
        answer = completion.choices[0].message.content or ""
        answered = AnsweredMessage(
            inference_id=ratchet["inference_id"],
            at=time.monotonic() - self.started,
            phase=phase,
            sample=sample,
            answer=answer,
            correct=same_answer(answer, sample.answer, self.spec),
            late=sample.answer in self.late,
            arm=ratchet["arm"],
            outcome=ratchet["outcome"],
            confidence=ratchet.get("confidence"),
            seconds=time.monotonic() - began,
            certified=ratchet["certified"],
        )
        self.answered.append(answered)
        return answered


def accuracy(answered: list[AnsweredMessage]) -> float:
    return sum(one.correct for one in answered) / len(answered) if answered else float("nan")

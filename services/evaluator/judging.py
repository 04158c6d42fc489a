"""What a judge model says of all pairs of an evaluation. It promotes nothing, so where it is away
the evaluation goes on without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.comparisons import AnswersCompared
from services.evaluator.examination import Pair
from services.evaluator.pairs import compared_by_model, judge
from services.evaluator.ports import Judge, JudgeAway
from shared.telemetry import log


@dataclass(frozen=True)
class Judging:
    """Asks the judge model, where there is one; `concurrency` questions are in flight."""

    model: Judge | None
    concurrency: int

    async def judge(self, tenant: str, route: str, pairs: Sequence[Pair]) -> list[AnswersCompared]:
        """Return its judgements; those that it did not come to are left out."""
        model = self.model
        if model is None:
            return []
        gate = asyncio.Semaphore(self.concurrency)

        async def one(pair: Pair) -> AnswersCompared:
            async with gate:
                said = await judge(model, pair.row.messages, *pair.sides)
            return compared_by_model(tenant, route, pair.pairing, said, model.name)

        tasks = [asyncio.create_task(one(pair)) for pair in pairs]
        try:
            await asyncio.gather(*tasks)
        except JudgeAway as away:
            log("judging").warning("going on without the judge model", error=str(away))
        finally:
            for task in tasks:
                task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return [said for said in done if isinstance(said, AnswersCompared)]

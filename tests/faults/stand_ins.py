"""What stands in for hours of GPU in a forked service. Everything else in it is real."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from schemas.base import BlobRef
from services.trainer.base_facts import BaseFacts
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Progress
from shared.storage.blobs import BlobStore
from tests.unit.trainer.worlds import FACTS, result_of, write_adapter

STEPS = 4


@dataclass
class QuickExecutor:
    """Trains nothing for a moment and leaves a well-formed adapter, the same bytes for the same
    dataset.
    """

    seconds: float

    async def look(self, base_model: str) -> BaseFacts:
        return FACTS

    async def train(self, order: TrainingOrder, progress: Progress) -> TrainingResult:
        done = order.checkpoints / "steps"
        order.checkpoints.mkdir(parents=True, exist_ok=True)
        for step in range(int(done.read_text()) if done.exists() else 0, STEPS):
            await asyncio.sleep(self.seconds / STEPS)
            done.write_text(str(step + 1))
            await progress.say(TrainingProgress(step=step + 1, steps=STEPS, loss=1.0))
        result = result_of(order)
        await asyncio.to_thread(write_adapter, order, result)
        return result


class QuickReports:
    """The HTML reports of the evaluator take a child process with matplotlib each; they publish
    nothing.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs

    async def evaluation(self, content: dict[str, Any]) -> BlobRef | None:
        return None

    async def drift(self, content: dict[str, Any]) -> BlobRef | None:
        return None

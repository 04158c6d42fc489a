"""What runs a training."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult

Progress = Callable[[TrainingProgress], Awaitable[None]]


class Executor(Protocol):
    """Runs trainings: in a child process here, as a Kubernetes Job or on Ray elsewhere."""

    async def train(self, order: TrainingOrder, progress: Progress) -> TrainingResult:
        """Train, leave the adapter in the order's output folder, and report on the way.

        Raises ChildDied when the training was killed, which is worth another attempt, and
        JobFailed when trying again cannot help.
        """
        ...

"""What runs a training."""

from __future__ import annotations

from typing import Protocol

from services.trainer.base_facts import BaseFacts
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult


class Progress(Protocol):
    """Hears how far a training is."""

    async def say(self, progress: TrainingProgress) -> None:
        """Keep how far it is."""

    async def saved(self, step: int) -> None:
        """Note that it can go on from this step. Raises TurnOver where it should stop here."""


class Executor(Protocol):
    """Runs trainings: in a child process here, as a Kubernetes Job or on Ray elsewhere."""

    async def look(self, base_model: str) -> BaseFacts:
        """Return what is known of a base model and of where it would be trained.

        Raises JobFailed where there is no such model, or nothing can be trained on it.
        """
        ...

    async def train(self, order: TrainingOrder, progress: Progress) -> TrainingResult:
        """Train, leave the adapter in the order's output folder, and report on the way.

        Raises ChildDied when the training was killed, which is worth another attempt, and
        JobFailed when trying again cannot help.
        """
        ...

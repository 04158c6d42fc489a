"""What transformers calls while it trains. Runs in the training process."""

from __future__ import annotations

import math
import time
from math import ceil
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from services.trainer.checkpoints import COMPLETE
from services.trainer.tracking import Tracking
from shared.child import say
from shared.errors import JobFailed


class LossNotFinite(JobFailed):
    def __init__(self, step: int) -> None:
        super().__init__(
            f"the loss became NaN or infinite at step {step}: lower the recipe's learning_rate, or"
            " train in fp32"
        )


class RunCallback(TrainerCallback):
    """Says how far the training is, marks complete checkpoints, and stops on a loss of NaN."""

    def __init__(self, tokens: int, rounds: int, tracking: Tracking | None) -> None:
        """Watch a training on `tokens` tokens an epoch, of `rounds` rounds at most."""
        self.tokens = tokens
        self.rounds = rounds
        self.tracking = tracking
        self.tokens_per_second = 0.0
        self.validation_loss: float | None = None
        self.started = time.monotonic()
        self.first_epoch = 0.0

    @override
    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        self.started = time.monotonic()
        self.first_epoch = state.epoch or 0.0

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Report what was logged. Raises LossNotFinite."""
        logs = logs or {}
        watched = (logs.get(name, 0.0) for name in ("loss", "eval_loss", "grad_norm"))
        if not all(map(math.isfinite, watched)):
            raise LossNotFinite(state.global_step)
        self.validation_loss = logs.get("eval_loss", self.validation_loss)
        epochs = (state.epoch or 0.0) - self.first_epoch
        self.tokens_per_second = self.tokens * epochs / (time.monotonic() - self.started)
        if state.is_world_process_zero and ("loss" in logs or "eval_loss" in logs):
            say(
                step=state.global_step,
                steps=self.planned(state),
                loss=logs.get("loss"),
                validation_loss=self.validation_loss,
                tokens_per_second=round(self.tokens_per_second, 1),
            )
        if self.tracking:
            numbers = {
                name: value for name, value in logs.items() if isinstance(value, int | float)
            }
            self.tracking.noted(numbers, state.global_step)

    def planned(self, state: TrainerState) -> int:
        """Return the step at which the present round ends."""
        a_round = max(1, state.max_steps // self.rounds)
        return min(state.max_steps, a_round * max(1, ceil(state.global_step / a_round)))

    @override
    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Make the folder of the checkpoint that follows, in every process.

        Whether the best one exists transformers asks before FSDP writes it: some processes found it
        at the end and waited for the others for ever.
        """
        folder_of(args, state).mkdir(parents=True, exist_ok=True)

    @override
    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Mark the checkpoint that was just written: `kill -9` can leave a half-written one.

        Every process writes a part of it. The trainer hears of it, and may stop here for another
        tenant's job.
        """
        args.distributed_state.wait_for_everyone()
        if state.is_world_process_zero:
            (folder_of(args, state) / COMPLETE).touch()
            say(checkpoint=state.global_step, steps=self.planned(state))


def folder_of(args: TrainingArguments, state: TrainerState) -> Path:
    """Return where the checkpoint of the present step is."""
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"

"""A training that goes on while its rows are not learned. Runs in the training process.

A recipe's epochs fit rows as they usually are. Where the base model hardly knows the script, they
end on a plateau: the adapter writes well-formed labels and guesses among them. Then the epochs come
once more, with their schedule (warm restarts, arXiv 1608.03983).
"""

from __future__ import annotations

from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from services.trainer.checkpoints import STATE
from services.trainer.losses import Curve, read_losses
from services.trainer.recipe import TrainingRecipe

# Nats a row, over the last epoch. Between two labels a guess costs 0.69; three reviewed rows in a
# hundred are wrong, and cost 0.15 to 0.3. The demo's first version ends at 0.3, on 198 rows of
# Chinese it ended at 1.1.
LEARNED = 0.5


class Rounds(TrainerCallback):
    """Ends a training at the first end of a round at which its rows are learned."""

    def __init__(self, recipe: TrainingRecipe, answer_tokens: float) -> None:
        """Watch a training whose rows have `answer_tokens` in the loss, on average."""
        self.recipe = recipe
        self.answer_tokens = answer_tokens

    @override
    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if self.is_over(state.epoch or 0.0, state.log_history):
            control.should_training_stop = True

    def is_over(self, epoch: float, history: Curve) -> bool:
        """Say whether a round ends here that needs no other."""
        if round(epoch) % self.recipe.epochs:
            return False
        return read_losses(history, "last").training * self.answer_tokens <= LEARNED

    def epochs_from(self, checkpoint: str | None) -> int:
        """Return how many epochs a training has that goes on from there: none more, where it was
        killed between its last checkpoint and its end.
        """
        if checkpoint:
            state: TrainerState = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
            if state.epoch and self.is_over(state.epoch, state.log_history):
                return round(state.epoch)
        return self.recipe.epochs * self.recipe.rounds

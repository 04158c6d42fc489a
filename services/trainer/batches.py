"""Rows that begin alike as one sequence, and its loss. Runs in the training process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel
from trl.trainer.sft_trainer import SFTTrainer

from services.trainer.base_facts import LayerMissing
from services.trainer.lean import Batch, Collator, Trunk
from services.trainer.packing import common_prefix, lay_out
from services.trainer.recipe import TrainingRecipe
from services.trainer.rendering import IGNORED, LabelledRow, TokenizedRow

Loss = torch.Tensor | tuple[torch.Tensor, Batch]


class SharedPrefixTrainer(SFTTrainer):
    """A trainer whose batch is one sequence (packing.py).

    Logits, 49,152 wide in the demo's model, are computed at the answers alone. TRL does that only
    where Triton runs: on a CPU it computes them at every position.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Loss:
        """Return the mean loss a token, over `num_items_in_batch` tokens where they are given."""
        loss, logits = self._loss_and_logits(model, inputs, num_items_in_batch)
        if num_items_in_batch is not None:
            # They are those of all processes, over which losses and gradients are then averaged.
            loss = loss * self.accelerator.num_processes
        return (loss, {"logits": logits}) if return_outputs else loss

    @classmethod
    def loss_of(cls, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean loss a token of a batch."""
        return cls._loss_and_logits(model, batch, None)[0]

    @staticmethod
    def _loss_and_logits(
        model: torch.nn.Module, inputs: Batch, tokens: torch.Tensor | int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        labels = inputs.pop("labels")[0, 1:]
        at = (labels != IGNORED).nonzero().flatten()
        logits = model(**inputs, use_cache=False, logits_to_keep=at).logits[0]
        total = cross_entropy(logits.float(), labels[at], reduction="sum")
        return total / (len(at) if tokens is None else tokens), logits


@dataclass(frozen=True)
class PrefixCollator:
    """Lays rows out behind the `prefix` tokens with which all of them begin."""

    prefix: int
    # Of the mask, which is added to the model's attention scores.
    dtype: torch.dtype

    def __call__(self, rows: Sequence[LabelledRow]) -> Batch:
        """Return one sequence; a token sees the prefix and the earlier tokens of its own row."""
        layout = lay_out(rows, self.prefix)
        segments = torch.tensor(layout.segments)
        sees = ((segments[:, None] == segments) | (segments == 0)).tril()
        lowest = torch.finfo(self.dtype).min
        mask = torch.zeros(sees.shape, dtype=self.dtype).masked_fill(~sees, lowest)
        return {
            "input_ids": torch.tensor([layout.input_ids]),
            "labels": torch.tensor([layout.labels]),
            "position_ids": torch.tensor([layout.positions]),
            "attention_mask": mask[None, None],
        }


@dataclass(frozen=True)
class TrunkCollator:
    """Gives the hidden states under the first adapted layer in place of the tokens."""

    collate: PrefixCollator
    trunk: Trunk

    def __call__(self, rows: Sequence[LabelledRow]) -> Batch:
        batch = self.collate(rows)
        del batch["input_ids"]
        return batch | {"inputs_embeds": self.trunk.states(rows)}


def make_collator(
    recipe: TrainingRecipe, model: PreTrainedModel, rows: Sequence[TokenizedRow]
) -> Collator:
    """Return how rows become a batch, with the layers that do not learn computed beforehand.

    `rows` are all that will ever be asked for. Raises LayerMissing.
    """
    prefix = common_prefix([row.prompt for row in rows])
    collate = PrefixCollator(prefix, model.dtype)
    if not recipe.first_layer:
        return collate
    layers = model.config.num_hidden_layers
    if recipe.first_layer >= layers:
        raise LayerMissing(recipe.first_layer, layers)
    labelled = [row.labelled() for row in rows]
    return TrunkCollator(collate, Trunk(model, recipe.first_layer, labelled, prefix, collate))

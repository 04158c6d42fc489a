"""What the layers of a base model are called. Runs in the training process."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


def linear_layers(model: PreTrainedModel) -> set[str]:
    """Return what the linear layers of a model are called; GPT-2 has its own kind of them."""
    return {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
    }

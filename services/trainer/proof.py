"""Whether the short cuts of a training compute on this base model what peft computes without them.

They were written for models like Llama. Others multiply embeddings (Granite) or look back over a
window (Mistral): there the loss would be another. So the first rows go both ways. Runs in the
training process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft import get_peft_model
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, set_seed

from services.trainer.batches import SharedPrefixTrainer, TrunkCollator, make_collator
from services.trainer.configuration import lora_config
from services.trainer.recipe import TrainingRecipe
from services.trainer.rendering import IGNORED, TokenizedRow
from shared.errors import JobFailed

ROWS = 2
# In float32 both ways differ by 5e-5 on SmolLM2, and by 0.9 and more on the models above.
TOLERANCE = 1e-3
# A larger model is not made twice as large for this, and rounds both ways.
MOST_PARAMETERS = 1_000_000_000
TOLERANCE_ROUNDED = 3e-2


def without_short_cuts_because(
    recipe: TrainingRecipe, model: PreTrainedModel, rows: Sequence[TokenizedRow]
) -> str | None:
    """Return why the short cuts must not be taken, None where they are right or there are none.

    The model is left as it was. Raises JobFailed where the recipe does not fit the model at all.
    """
    if not (recipe.share_prefix or recipe.lean):
        return None
    rows = sorted(rows, key=len)[:ROWS]
    dtype = model.dtype
    is_small = model.num_parameters() <= MOST_PARAMETERS and recipe.quantization == "none"
    if is_small:
        model.float()  # type: ignore[no-untyped-call]  # transformers wraps torch's
    try:
        plain = gradients(recipe, model, rows, shortcuts=False)
        short = gradients(recipe, model, rows, shortcuts=True)
        off = float((plain - short).norm() / plain.norm())
        tolerance = TOLERANCE if is_small else TOLERANCE_ROUNDED
        return None if off <= tolerance else f"they give other gradients ({off:.1%} off)"
    except JobFailed:
        raise
    # Whatever a model without these parts raises.
    except Exception as error:  # noqa: BLE001
        return f"they fail on it ({type(error).__name__})"
    finally:
        if is_small:
            model.to(dtype=dtype)  # type: ignore[call-arg]  # transformers wraps torch's
        set_seed(recipe.seed)


def gradients(
    recipe: TrainingRecipe,
    model: PreTrainedModel,
    rows: Sequence[TokenizedRow],
    *,
    shortcuts: bool,
) -> torch.Tensor:
    """Return the gradients of a new adapter's matrices on these rows, one after the other."""
    set_seed(recipe.seed)
    adapted = get_peft_model(model, lora_config(recipe, model, shortcuts=shortcuts))
    trunk = None
    try:
        if shortcuts and recipe.share_prefix:
            collate = make_collator(recipe, model, rows)
            trunk = collate.trunk if isinstance(collate, TrunkCollator) else None
            batch = collate([row.labelled() for row in rows])
            loss = SharedPrefixTrainer.loss_of(adapted, on_device(batch, model))
        else:
            loss = plain_loss(adapted, rows, model.device)
        learned = [value for value in adapted.parameters() if value.requires_grad]
        found = torch.autograd.grad(loss, learned)
        return torch.cat([gradient.flatten().float() for gradient in found])
    finally:
        if trunk is not None:
            trunk.release()
        adapted.unload()


def on_device(batch: dict[str, torch.Tensor], model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: value.to(model.device) for name, value in batch.items()}


def plain_loss(
    model: torch.nn.Module, rows: Sequence[TokenizedRow], device: torch.device
) -> torch.Tensor:
    """Return the mean loss a token of the answers, row by row."""
    losses, tokens = [], 0
    for row in rows:
        labelled = row.labelled()
        ids = torch.tensor([labelled["input_ids"]], device=device)
        labels = torch.tensor(labelled["labels"][1:], device=device)
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        losses.append(cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum"))
        tokens += int((labels != IGNORED).sum())
    return torch.stack(losses).sum() / tokens

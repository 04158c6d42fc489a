"""A recipe in the words of peft and TRL. Runs in the training process."""

from __future__ import annotations

import torch
from peft import LoraConfig
from transformers import PreTrainedModel
from trl.trainer.sft_config import SFTConfig

from services.trainer.base_facts import ModulesMissing
from services.trainer.layers import linear_layers
from services.trainer.lean import LeanLinear
from services.trainer.order import TrainingOrder
from services.trainer.recipe import TrainingRecipe

# In the words of transformers.
SCHEDULES = {
    "cosine": "cosine",
    "linear": "linear",
    "constant": "constant_with_warmup",
    "rounds": "cosine_with_restarts",
}


def lora_config(recipe: TrainingRecipe, model: PreTrainedModel, *, shortcuts: bool) -> LoraConfig:
    """Return which matrices of the base model are learned. Raises ModulesMissing: peft would leave
    out in silence what it does not find beside others.
    """
    modules = recipe.target_modules
    layers = model.config.num_hidden_layers
    if not isinstance(modules, str):
        there = linear_layers(model)
        if missing := set(modules) - there:
            raise ModulesMissing(missing, there)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=modules if isinstance(modules, str) else list(modules),
        layers_to_transform=list(range(recipe.first_layer, layers)) if recipe.first_layer else None,
    )
    if recipe.lean and shortcuts:
        # peft documents it, as experimental.
        config._register_custom_module({torch.nn.Linear: LeanLinear})  # noqa: SLF001
    return config


def training_arguments(order: TrainingOrder, *, validates: bool, shortcuts: bool) -> SFTConfig:
    """Return how the steps are made; `validates` says that there are validation rows."""
    recipe = order.recipe
    best = validates and recipe.keep == "best"
    on_gpu = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(order.recipe_checkpoints),
        num_train_epochs=recipe.epochs * recipe.rounds,
        seed=recipe.seed,
        data_seed=recipe.seed,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=order.learning_rate,
        # A share of all steps.
        warmup_steps=recipe.warmup_share / recipe.rounds,
        lr_scheduler_type=SCHEDULES[recipe.schedule if recipe.rounds == 1 else "rounds"],
        lr_scheduler_kwargs={"num_cycles": recipe.rounds} if recipe.rounds > 1 else None,
        # Autocast; the lean layers cast for themselves.
        bf16=recipe.precision == "bf16" and not (recipe.lean and shortcuts),
        use_cpu=not on_gpu,
        gradient_checkpointing=recipe.gradient_checkpointing,
        # Rows are tokenised already, and too long ones left out: nothing is cut here.
        max_length=None,
        shuffle_dataset=False,
        eval_strategy="epoch" if validates else "no",
        save_strategy="epoch",
        save_total_limit=2,
        prediction_loss_only=True,
        load_best_model_at_end=best,
        metric_for_best_model="eval_loss" if best else None,
        greater_is_better=False if best else None,
        logging_steps=5,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )

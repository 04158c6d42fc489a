"""One training, from a dataset folder to an adapter folder: load, prepare, train, save.

    python -m services.trainer.train --order FILE
    accelerate launch --multi_gpu --num_processes 4 -m services.trainer.train --order FILE

Started by the trainer, which reads the JSON lines it says. Of several processes (processes.py) each
does all of this; the first one speaks and writes. Killed at any moment, the next attempt
goes on from the last complete checkpoint. What another attempt cannot cure is said as
{"refused": ...}.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import cast

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    set_seed,
)
from trl.trainer.sft_trainer import SFTTrainer

from services.trainer.batches import SharedPrefixTrainer, make_collator
from services.trainer.callback import LossNotFinite, RunCallback
from services.trainer.checkpoints import last_complete, remove_half_written
from services.trainer.configuration import lora_config, training_arguments
from services.trainer.losses import read_losses
from services.trainer.order import TrainingOrder, TrainingResult
from services.trainer.processes import check_processes, is_main_process, local_process
from services.trainer.proof import without_short_cuts_because
from services.trainer.recipe import TrainingRecipe
from services.trainer.refusals import BaseModelMissing, NoChatTemplate
from services.trainer.rendering import TokenizedRow
from services.trainer.rounds import Rounds
from services.trainer.rows import TrainingRows, prepare
from services.trainer.saving import save
from services.trainer.tracking import Tracking
from shared.child import confess, die_with_parent, say
from shared.errors import JobFailed
from shared.hardware import multiplies_bf16


class OutOfMemory(JobFailed):
    def __init__(self) -> None:
        super().__init__(
            "out of memory: lower the recipe's batch_size (raise accumulation), set"
            " gradient_checkpointing, or use quantization: nf4"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--order", type=Path, required=True, help="the order as JSON: services/trainer/order.py"
    )
    order = TrainingOrder.model_validate_json(arguments.parse_args().order.read_text())
    if sys.platform == "linux":
        # Under accelerate our parent is the launcher, which dies with the trainer.
        die_with_parent()
    try:
        run(order)
    except JobFailed as refusal:
        say(refused=str(refusal))
        sys.exit(2)
    except Exception as error:
        confess(error)
        raise


def run(order: TrainingOrder) -> TrainingResult:
    """Train as ordered and leave the adapter's folder. Raises JobFailed, with the reason."""
    check_processes(order.recipe, torch.cuda.device_count())
    order = in_precision_of_machine(order)
    order.checkpoints.mkdir(parents=True, exist_ok=True)
    tracking = Tracking(order) if is_main_process() else None
    try:
        tokenizer, model = load(order)
        rows = prepare(order, tokenizer)
        order = order.settled(model.config.hidden_size, len(rows.training), len(rows.validation))
        trainer, result = train(order, model, tokenizer, rows, tracking)
        return save(order, trainer, result, tracking)
    except Exception as error:
        if tracking:
            tracking.finish({"error": type(error).__name__})
        if (
            isinstance(error, MemoryError)
            or "out of memory" in str(error)
            or "can't allocate memory" in str(error)
        ):
            raise OutOfMemory from error
        raise


def in_precision_of_machine(order: TrainingOrder) -> TrainingOrder:
    """Return the order in fp32 where this machine takes five times as long for bf16."""
    recipe = order.recipe
    if recipe.precision == "fp32" or torch.cuda.is_available() or multiplies_bf16():
        return order
    say(detail=f"trained in fp32: this processor has no instructions for {recipe.precision}")
    fp32 = recipe.model_copy(update={"precision": "fp32"})
    return order.model_copy(update={"recipe": fp32})


def load(order: TrainingOrder) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Return the tokenizer and the frozen base model. Raises BaseModelMissing, NoChatTemplate."""
    recipe = order.recipe
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    set_seed(recipe.seed)
    try:
        tokenizer = AutoTokenizer.from_pretrained(order.base_model)
        model = AutoModelForCausalLM.from_pretrained(
            order.base_model,
            dtype=dtype,
            attn_implementation=recipe.attention,
            **(four_bits(dtype) if recipe.quantization == "nf4" else {}),
        )
    except (OSError, ImportError, ValueError) as error:
        raise BaseModelMissing(order.base_model_name, error) from error
    if not tokenizer.chat_template:
        raise NoChatTemplate(order.base_model_name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, cast(PreTrainedModel, model)


def four_bits(dtype: torch.dtype) -> dict[str, object]:
    """Return how to load as QLoRA does (https://arxiv.org/abs/2305.14314), computing in `dtype`.

    Each process loads on its own GPU: all of them would take the first one.
    """
    quantized = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers leaves it so
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    device = local_process() if torch.cuda.is_available() else "cpu"
    return {"quantization_config": quantized, "device_map": {"": device}}


def train(
    order: TrainingOrder,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TrainingRows,
    tracking: Tracking | None,
) -> tuple[SFTTrainer, TrainingResult]:
    """Train low-rank matrices, the base model stays as it is. Raises LossNotFinite."""
    recipe = order.recipe
    validates = bool(rows.validation)
    callback = RunCallback(sum(map(len, rows.training)), recipe.rounds, tracking)
    rounds = Rounds(recipe, sum(len(row.answer) for row in rows.training) / len(rows.training))
    against = without_short_cuts_because(recipe, model, rows.training)
    if against and is_main_process():
        say(detail=f"trained without short cuts on this base model: {against}")
    shares = recipe.share_prefix and against is None
    every = [*rows.training, *rows.validation]
    trainer = (SharedPrefixTrainer if shares else SFTTrainer)(
        model=model,
        args=training_arguments(order, validates=validates, shortcuts=against is None),
        processing_class=tokenizer,
        data_collator=make_collator(recipe, model, every) if shares else None,
        train_dataset=as_dataset(rows.training),
        eval_dataset=as_dataset(rows.validation) if validates else None,
        callbacks=[callback, rounds, *early_stopping(recipe, validates)],
        peft_config=lora_config(recipe, model, shortcuts=against is None),
    )
    # It prints dicts, and stdout is ours to speak JSON on.
    trainer.remove_callback(PrinterCallback)
    if is_main_process():
        remove_half_written(order.recipe_checkpoints)
    checkpoint = last_complete(order.recipe_checkpoints)
    trainer.args.num_train_epochs = rounds.epochs_from(checkpoint)
    done = trainer.train(resume_from_checkpoint=checkpoint)
    if not math.isfinite(done.training_loss):
        raise LossNotFinite(done.global_step)
    found = read_losses(trainer.state.log_history, recipe.keep)
    return trainer, TrainingResult(
        dataset_id=order.dataset_id,
        dataset_sha256=order.dataset_sha256,
        base_model=order.base_model_name,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256,
        seed=recipe.seed,
        rows=len(rows.training),
        dropped_rows=rows.dropped,
        steps=done.global_step,
        epochs=trainer.state.epoch or 0.0,
        tokens_per_second=callback.tokens_per_second,
        train_loss=found.training,
        validation_loss=found.validation,
        curve=found.curve,
    )


def as_dataset(rows: list[TokenizedRow]) -> Dataset:
    return Dataset.from_list([row.labelled() for row in rows])


def early_stopping(recipe: TrainingRecipe, validates: bool) -> list[EarlyStoppingCallback]:
    if not validates or recipe.keep == "last":
        return []
    return [EarlyStoppingCallback(early_stopping_patience=recipe.patience)]


if __name__ == "__main__":
    main()

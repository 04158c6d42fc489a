"""One training, from a dataset folder to an adapter folder: load, prepare, train, save.

    python -m services.trainer.train --order FILE
    accelerate launch --num_processes 4 -m services.trainer.train --order FILE

Started by the trainer, which reads the JSON lines it says. Killed at any moment, the next attempt
goes on from the last complete checkpoint. What another attempt cannot cure is said as
{"refused": ...}.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    EarlyStoppingCallback,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    set_seed,
)
from trl.trainer.sft_trainer import SFTTrainer

from services.trainer.batches import SharedPrefixTrainer, make_collator
from services.trainer.callback import LossNotFinite, RunCallback
from services.trainer.card import model_card
from services.trainer.checkpoints import last_complete
from services.trainer.configuration import lora_config, training_arguments
from services.trainer.losses import read_losses
from services.trainer.order import TrainingOrder, TrainingResult
from services.trainer.proof import without_short_cuts_because
from services.trainer.recipe import TrainingRecipe
from services.trainer.rendering import (
    NoChatTemplate,
    NoRows,
    TokenizedRow,
    Tokenizer,
    check_uncut,
    fitting,
    read_split,
    render_all,
)
from services.trainer.rounds import Rounds
from services.trainer.tracking import Tracking
from shared.child import confess, die_with_parent, say
from shared.errors import JobFailed
from shared.storage import folder_digest

MODEL_FILES = ("adapter_model.safetensors", "adapter_config.json")


class BaseModelMissing(JobFailed):
    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(
            f"the base model '{name}' could not be loaded: {cause}. Set TRAINER_BASE_MODEL to a"
            " folder that has it, or allow the hub"
        )


class OutOfMemory(JobFailed):
    def __init__(self) -> None:
        super().__init__(
            "out of memory: lower the recipe's batch_size (raise accumulation), set"
            " gradient_checkpointing, or use quantization: nf4"
        )


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a dataset that fit the recipe's max_length."""

    training: list[TokenizedRow]
    validation: list[TokenizedRow]
    # Training rows that were too long.
    dropped: int


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
    order.checkpoints.mkdir(parents=True, exist_ok=True)
    tracking = Tracking(order) if is_main_process() else None
    try:
        tokenizer, model = load(order)
        rows = prepare(order, tokenizer)
        trainer, result = train(order, model, tokenizer, rows, tracking)
        return save(order, trainer, result, tracking) if trainer.is_world_process_zero() else result
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
            quantization_config=four_bits(dtype) if recipe.quantization == "nf4" else None,
        )
    except (OSError, ImportError, ValueError) as error:
        raise BaseModelMissing(order.base_model_name, error) from error
    if not tokenizer.chat_template:
        raise NoChatTemplate(order.base_model_name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, cast(PreTrainedModel, model)


def ends_of(base_model: str) -> list[int]:
    """Return the tokens at which vLLM stops, beside the tokenizer's: the generation config's."""
    try:
        found = GenerationConfig.from_pretrained(base_model).eos_token_id
    except OSError:
        return []
    return found if isinstance(found, list) else [found] if isinstance(found, int) else []


def four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """Quantise as QLoRA does (https://arxiv.org/abs/2305.14314); compute in `dtype`."""
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def prepare(order: TrainingOrder, tokenizer: PreTrainedTokenizerBase) -> TrainingRows:
    """Tokenise the rows to train on and to validate on.

    Test and audit rows are the evaluator's: they are not even read here. Raises NoRows,
    DatasetUnreadable, AnswersCut, TooManyTooLong, RowsUnusable, PromptNotKept or AnswerWrapped.
    """
    recipe = order.recipe
    ends = ends_of(order.base_model)

    def split(name: str, most_dropped: float) -> tuple[list[TokenizedRow], int]:
        read = read_split(order.dataset, name)
        taken = cast(Tokenizer, tokenizer)
        rendered = render_all(taken, order.spec, read, ends, most_dropped)
        check_uncut(order.spec, rendered.answers, rendered.rows)
        kept, too_long = fitting(rendered.rows, recipe.max_length, most_dropped)
        return kept, too_long + rendered.unusable

    training, dropped = split("train", recipe.max_dropped_share)
    # What is validated on decides nothing that a few rows less could spoil.
    validation, _ = split("validation", 1.0)
    if not training:
        raise NoRows(order.dataset_id)
    if dropped and is_main_process():
        say(detail=f"{dropped} rows left out: too long, or refused by the chat template")
    return TrainingRows(training, validation, dropped)


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


def save(
    order: TrainingOrder, trainer: SFTTrainer, result: TrainingResult, tracking: Tracking | None
) -> TrainingResult:
    """Write the adapter's folder, `training.json` last; the trainer stores it under its digest."""
    order.output.mkdir(parents=True, exist_ok=True)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(order.output)
    for path in order.output.iterdir():
        if path.name not in MODEL_FILES:
            path.unlink()
    config = json.loads((order.output / "adapter_config.json").read_text())
    config |= {
        "base_model_name_or_path": order.base_model_name,
        # peft writes a set, in any order.
        "target_modules": sorted(config["target_modules"]),
    }
    (order.output / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (order.output / "README.md").write_text(model_card(order, result))
    (order.output / "recipe.yaml").write_text(order.recipe.as_yaml())
    (order.output / "training.json").write_text(
        json.dumps(result.facts(), indent=2, sort_keys=True)
    )
    if tracking:
        run_id = tracking.finish({"adapter": folder_digest(order.output)})
        result = result.model_copy(update={"run_id": run_id})
    order.result_file.write_text(result.model_dump_json())
    return result


def is_main_process() -> bool:
    """Say whether this is the only process, or the first of those that accelerate launched."""
    return os.environ.get("RANK", "0") == "0"


if __name__ == "__main__":
    main()

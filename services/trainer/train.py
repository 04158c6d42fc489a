"""One training, from a dataset folder to an adapter folder: load, prepare, train, save.

    python -m services.trainer.train --order FILE
    accelerate launch --num_processes 4 -m services.trainer.train --order FILE

Started by the trainer service, which reads the JSON lines it says. Killed at any moment, the next
attempt goes on from the last complete checkpoint. Reasons that another attempt cannot cure are said
as {"refused": ...}.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.trainer.card import model_card
from services.trainer.order import TrainingOrder, TrainingResult
from services.trainer.packing import common_prefix, lay_out
from services.trainer.recipe import TrainingRecipe
from services.trainer.rendering import IGNORED, NoRows, Row, fitting, read_split, render
from services.trainer.tracking import Tracking
from shared.jobs.child import die_with_parent, say
from shared.jobs.worker import JobFailed
from shared.storage.blobs import folder_digest

COMPLETE = (  # written last into a checkpoint: `kill -9` can leave a half-written one behind
    "_COMPLETE"
)
MODEL_FILES = ("adapter_model.safetensors", "adapter_config.json")


class ModelMissing(JobFailed):
    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(
            f"the base model '{name}' could not be loaded: {cause}. Set TRAINER_BASE_MODEL to a"
            " folder that has it, or allow the hub"
        )


class LossNotFinite(JobFailed):
    def __init__(self, step: int) -> None:
        super().__init__(
            f"the loss became NaN or infinite at step {step}: lower the recipe's learning_rate, or"
            " train in fp32"
        )


class LayerMissing(JobFailed):
    def __init__(self, first: int, layers: int) -> None:
        super().__init__(
            f"the recipe adapts layers from {first} on, but the base model has only {layers}: lower"
            " first_layer"
        )


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
        # under accelerate our parent is the launcher, which dies with the service
        die_with_parent()
    try:
        run(order)
    except JobFailed as refusal:
        say(refused=str(refusal))
        sys.exit(2)


def run(order: TrainingOrder) -> TrainingResult:
    order.checkpoints.mkdir(parents=True, exist_ok=True)
    tracking = Tracking(order) if is_main_process() else None
    try:
        tokenizer, model = load(order)
        rows, held_out, dropped = prepare(order, tokenizer)
        trainer, result = train(order, model, tokenizer, rows, held_out, dropped, tracking)
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


def load(order: TrainingOrder) -> tuple[Any, Any]:
    """The tokenizer, and the frozen base model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, set_seed

    recipe = order.recipe
    dtype = torch.bfloat16 if order.recipe.precision == "bf16" else torch.float32
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    set_seed(recipe.seed)
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    try:
        tokenizer = AutoTokenizer.from_pretrained(order.base_model)
        model = AutoModelForCausalLM.from_pretrained(
            order.base_model,
            dtype=dtype,
            attn_implementation=recipe.attention,
            quantization_config=four_bits if recipe.quantization == "nf4" else None,
        )
    except (OSError, ImportError, ValueError) as error:
        raise ModelMissing(order.base_model_name, error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model


def prepare(order: TrainingOrder, tokenizer: Any) -> tuple[list[Row], list[Row], int]:
    """Rows to train on and rows to validate on. Test and audit rows are the evaluator's: not even
    read here.
    """
    limits = order.recipe.max_length, order.recipe.max_dropped_share
    kept = {}
    for split in ("train", "validation"):
        kept[split] = fitting(
            [render(tokenizer, order.spec, *pair) for pair in read_split(order.dataset, split)],
            *limits,
        )
    rows, dropped = kept["train"]
    held_out, _ = kept["validation"]
    if not rows:
        raise NoRows(order.dataset_id)
    if dropped and is_main_process():
        say(detail=f"{dropped} rows longer than {limits[0]} tokens left out")
    return rows, held_out, dropped


def train(
    order: TrainingOrder,
    model: Any,
    tokenizer: Any,
    rows: list[Row],
    held_out: list[Row],
    dropped: int,
    tracking: Tracking | None,
) -> tuple[Any, TrainingResult]:
    """Low-rank matrices learn, the base stays; the epoch with the best validation loss is kept."""
    from datasets import Dataset
    from transformers import PrinterCallback

    recipe = order.recipe
    watch = make_watch(sum(map(len, rows)), tracking)
    trainer = make_trainer(recipe.share_prefix)(
        model=model,
        args=training_arguments(order, bool(held_out)),
        processing_class=tokenizer,
        data_collator=batches(recipe, model, rows, held_out) if recipe.share_prefix else None,
        train_dataset=Dataset.from_list([row.labelled() for row in rows]),
        eval_dataset=Dataset.from_list([row.labelled() for row in held_out]) if held_out else None,
        callbacks=[watch, *make_early_stopping(recipe, bool(held_out))],
        peft_config=lora_config(recipe, model),
    )
    trainer.remove_callback(PrinterCallback)  # it prints dicts, and stdout is ours to speak JSON on
    done = trainer.train(resume_from_checkpoint=last_complete(checkpoint_folder(order)))
    if not math.isfinite(done.training_loss):
        raise LossNotFinite(done.global_step)
    return trainer, TrainingResult(
        dataset_id=order.dataset_id,
        dataset_sha256=order.dataset_sha256,
        base_model=order.base_model_name,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256,
        seed=recipe.seed,
        rows=len(rows),
        dropped_rows=dropped,
        steps=done.global_step,
        epochs=trainer.state.epoch or 0.0,
        tokens_per_second=watch.tokens_per_second,
        **losses(trainer.state.log_history, recipe.keep),
    )


def lora_config(recipe: TrainingRecipe, model: Any) -> Any:
    from peft import LoraConfig
    from torch.nn import Linear

    from services.trainer.lean import LeanLinear

    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=(
            recipe.target_modules
            if isinstance(recipe.target_modules, str)
            else list(recipe.target_modules)
        ),
        layers_to_transform=(
            list(range(recipe.first_layer, model.config.num_hidden_layers))
            if recipe.first_layer
            else None
        ),
    )
    if recipe.lean:
        # peft documents it, as experimental
        config._register_custom_module({Linear: LeanLinear})  # noqa: SLF001
    return config


def save(
    order: TrainingOrder, trainer: Any, result: TrainingResult, tracking: Tracking | None
) -> TrainingResult:
    """The adapter's folder, `training.json` last; the service stores it under its digest."""
    order.output.mkdir(parents=True, exist_ok=True)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(order.output)
    for path in order.output.iterdir():
        if path.name not in MODEL_FILES:
            path.unlink()
    config = json.loads((order.output / "adapter_config.json").read_text())
    config |= {
        "base_model_name_or_path": order.base_model_name,
        "target_modules": sorted(config["target_modules"]),
    }  # peft writes a set
    (order.output / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (order.output / "README.md").write_text(model_card(order, result))
    (order.output / "recipe.yaml").write_text(order.recipe.as_yaml())
    (order.output / "training.json").write_text(
        json.dumps(result.facts(), indent=2, sort_keys=True)
    )
    if tracking:
        result = result.model_copy(
            update={"run_id": tracking.finish({"adapter": folder_digest(order.output)})}
        )
    order.result_file.write_text(result.model_dump_json())
    return result


def training_arguments(order: TrainingOrder, validates: bool) -> Any:
    from trl import SFTConfig

    recipe = order.recipe
    best = validates and order.recipe.keep == "best"
    return SFTConfig(
        output_dir=str(checkpoint_folder(order)),
        num_train_epochs=recipe.epochs,
        seed=recipe.seed,
        data_seed=recipe.seed,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_share,
        lr_scheduler_type=(
            "constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule
        ),
        bf16=recipe.precision == "bf16"
        and not recipe.lean,  # autocast; the lean layers cast for themselves
        use_cpu=not on_gpu(),
        gradient_checkpointing=recipe.gradient_checkpointing,
        max_length=None,
        # rows are tokenised already, and too long ones left out: nothing is cut here
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
        dataloader_pin_memory=on_gpu(),
    )


def make_trainer(share_prefix: bool) -> Any:
    from torch.nn.functional import cross_entropy
    from trl import SFTTrainer

    class SharedPrefixTrainer(SFTTrainer):
        """One sequence holds the whole batch, so logits (49,152 wide in the demo's model) are
        computed at the answers alone.

        TRL does that only where Triton runs: on a CPU it computes them at every position.
        """

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            labels = inputs.pop("labels")[0, 1:]
            at = (labels != IGNORED).nonzero().flatten()
            logits = model(**inputs, use_cache=False, logits_to_keep=at).logits[0]
            loss = cross_entropy(logits.float(), labels[at], reduction="sum") / (
                len(at) if num_items_in_batch is None else num_items_in_batch
            )
            return (loss, {"logits": logits}) if return_outputs else loss

    return SharedPrefixTrainer if share_prefix else SFTTrainer


def batches(recipe: TrainingRecipe, model: Any, rows: list[Row], held_out: list[Row]) -> Any:
    """How rows that begin alike become a batch, with the layers that do not learn computed
    beforehand.
    """
    from services.trainer.lean import Trunk

    everything = [*rows, *held_out]
    prefix = common_prefix([row.prompt for row in everything])
    collate = make_collator(prefix, recipe.precision)
    if not recipe.first_layer:
        return collate
    if recipe.first_layer >= model.config.num_hidden_layers:
        raise LayerMissing(recipe.first_layer, model.config.num_hidden_layers)
    trunk = Trunk(
        model, recipe.first_layer, [row.labelled() for row in everything], prefix, collate
    )

    def collate_upon_trunk(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        batch = collate(rows)
        del batch["input_ids"]
        return batch | {"inputs_embeds": trunk.states(rows)}

    return collate_upon_trunk


def make_collator(prefix: int, precision: str) -> Any:
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        layout = lay_out(rows, prefix)
        segments = torch.tensor(layout.segments)
        sees = ((segments[:, None] == segments) | (segments == 0)).tril()
        mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
        return {
            "input_ids": torch.tensor([layout.input_ids]),
            "labels": torch.tensor([layout.labels]),
            "position_ids": torch.tensor([layout.positions]),
            "attention_mask": mask[None, None],
        }

    return collate


def make_watch(tokens: int, tracking: Tracking | None) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        """Says how far the training is, marks complete checkpoints, and stops a loss that is not a
        number.
        """

        tokens_per_second = 0.0
        validation_loss: float | None = None

        def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            self.started = time.monotonic()
            self.first_epoch = state.epoch or 0.0

        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: dict[str, float], **_: Any
        ) -> None:
            loss = logs.get("loss")
            self.validation_loss = logs.get("eval_loss", self.validation_loss)
            if not all(
                math.isfinite(logs.get(name, 0.0)) for name in ("loss", "eval_loss", "grad_norm")
            ):
                raise LossNotFinite(state.global_step)
            self.tokens_per_second = (
                tokens
                * ((state.epoch or 0.0) - self.first_epoch)
                / (time.monotonic() - self.started)
            )
            if state.is_world_process_zero and ("loss" in logs or "eval_loss" in logs):
                say(
                    step=state.global_step,
                    steps=state.max_steps,
                    loss=loss,
                    validation_loss=self.validation_loss,
                    tokens_per_second=round(self.tokens_per_second, 1),
                )
            if tracking:
                tracking.noted(
                    {name: value for name, value in logs.items() if isinstance(value, int | float)},
                    state.global_step,
                )

        def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()

    return Watch()


def make_early_stopping(recipe: TrainingRecipe, validates: bool) -> list[Any]:
    from transformers import EarlyStoppingCallback

    return (
        [EarlyStoppingCallback(early_stopping_patience=recipe.patience)]
        if validates and recipe.keep == "best"
        else []
    )


def losses(history: list[dict[str, float]], keep: str) -> dict[str, Any]:
    """The mean training loss of the last epoch, the validation loss of the epoch that was kept, and
    both curves.
    """
    curve = [
        {
            name: round(entry[name], 6)
            for name in ("step", "epoch", "loss", "eval_loss")
            if name in entry
        }
        for entry in history
        if "loss" in entry or "eval_loss" in entry
    ]
    training = [entry for entry in curve if "loss" in entry]
    last = [entry["loss"] for entry in training if entry["epoch"] > training[-1]["epoch"] - 1]
    validation = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    kept = (min(validation) if keep == "best" else validation[-1]) if validation else None
    return {"train_loss": sum(last) / len(last), "validation_loss": kept, "curve": curve}


def checkpoint_folder(order: TrainingOrder) -> Path:
    """Of this recipe: a checkpoint of another one would be gone on with wrongly."""
    return order.checkpoints / order.recipe.sha256[:12]


def last_complete(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones are removed."""
    complete = []
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).exists():
            complete.append(path)
        else:
            shutil.rmtree(path)
    return str(max(complete, key=lambda path: int(path.name.split("-")[1]))) if complete else None


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"  # set by the launcher


if __name__ == "__main__":
    main()

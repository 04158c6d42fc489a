"""The two trainings that are compared; each runs in a process of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass

from services.trainer.order import TrainingOrder


@dataclass(frozen=True)
class Figures:
    name: str
    tokens_per_second: float
    seconds: float
    cpu_seconds: float
    train_loss: float
    validation_loss: float


def ratchet(order: TrainingOrder) -> Figures:
    from services.trainer import train as stages
    from services.trainer.rows import prepare

    order = stages.in_precision_of_machine(order)
    tokenizer, model = stages.load(order)
    rows = prepare(order, tokenizer)
    order.checkpoints.mkdir(exist_ok=True)
    clock = Clock(order, sum(map(len, rows.training)))
    _, result = stages.train(order, model, tokenizer, rows, None)
    return clock.figures("Ratchet", result.train_loss, result.validation_loss)


def stock_trl(order: TrainingOrder) -> Figures:
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from services.trainer import train as stages
    from services.trainer.rows import prepare

    order = stages.in_precision_of_machine(order)
    recipe = order.recipe
    tokenizer, model = stages.load(
        order.model_copy(update={"recipe": recipe.model_copy(update={"attention": "sdpa"})})
    )
    rows = prepare(order, tokenizer)
    clock = Clock(order, sum(map(len, rows.training)))
    config = SFTConfig(
        output_dir=str(order.checkpoints / "stock"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup_share,
        seed=recipe.seed,
        bf16=recipe.precision == "bf16",
        use_cpu=True,
        max_length=None,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=5,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        train_dataset=stages.as_dataset(rows.training),
        eval_dataset=stages.as_dataset(rows.validation),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    found = stages.read_losses(trainer.state.log_history, "last")
    return clock.figures("stock TRL", found.training, found.validation)


class Clock:
    """From the first use of a row to the end of the last epoch, validation and whatever is prepared
    once included.
    """

    def __init__(self, order: TrainingOrder, tokens: int) -> None:
        self.tokens = tokens * order.recipe.epochs
        self.began = time.monotonic()
        self.began_cpu = time.process_time()

    def figures(self, name: str, train_loss: float, validation_loss: float) -> Figures:
        seconds = time.monotonic() - self.began
        return Figures(
            name,
            self.tokens / seconds,
            seconds,
            time.process_time() - self.began_cpu,
            train_loss,
            validation_loss,
        )

"""One training, in a process of its own."""

from __future__ import annotations

from services.trainer.order import TrainingOrder


def trained(order: TrainingOrder) -> tuple[float, float]:
    """Return the loss on the held-out rows, and the share of them that is answered right."""
    import torch

    from services.trainer import train as stages
    from services.trainer.batches import TrunkCollator
    from services.trainer.rows import prepare

    order = stages.in_precision_of_machine(order)
    tokenizer, model = stages.load(order)
    rows = prepare(order, tokenizer)
    trainer, result = stages.train(order, model, tokenizer, rows, None)
    if isinstance(trainer.data_collator, TrunkCollator):
        # The layers under the first adapted one, which rows to train on do not pass again.
        trainer.data_collator.trunk.release()
    right, trained_model = 0, trainer.model
    assert trained_model is not None  # noqa: S101 - for mypy
    with torch.no_grad():
        for row in rows.validation:
            ids = torch.tensor([row.prompt + row.answer])
            logits = trained_model(input_ids=ids).logits[0, len(row.prompt) - 1 : -1]
            right += logits.argmax(-1).tolist() == row.answer
    return result.validation_loss or 0.0, right / len(rows.validation)

"""The model card: what an adapter is, what it learned from, how well it fits."""

from __future__ import annotations

import yaml

from services.trainer.order import TrainingOrder, TrainingResult


def model_card(order: TrainingOrder, result: TrainingResult) -> str:
    """Write the card in Markdown, under a header of YAML as hubs read it."""
    header = yaml.safe_dump(
        {
            "base_model": result.base_model,
            "library_name": "peft",
            "tags": ["lora", "ratchet", order.spec.task],
            "datasets": [order.dataset_id],
            "metrics": [
                {"train_loss": round(result.train_loss, 4)},
                *(
                    [{"validation_loss": round(result.validation_loss, 4)}]
                    if result.validation_loss is not None
                    else []
                ),
            ],
        },
        sort_keys=False,
    )
    recipe = order.recipe
    modules = (
        recipe.target_modules
        if isinstance(recipe.target_modules, str)
        else ", ".join(recipe.target_modules)
    )
    labels = f"Answers with one of: {', '.join(order.spec.labels)}." if order.spec.labels else ""
    return f"""---
{header}---
# {order.spec.name}

A LoRA adapter for **{result.base_model}**, trained by Ratchet on answers that reviewers approved
or corrected. {labels}

Ask it with this system prompt, which it was trained with:

    {order.spec.system_prompt.strip()}

| | |
|---|---|
| dataset | `{order.dataset_id}` (sha256 `{order.dataset_sha256}`) |
| recipe | `{recipe.name}` (sha256 `{recipe.sha256}`) |
| rank, alpha, modules | {recipe.rank}, {recipe.alpha}, {modules} |
| rows | {result.rows} trained on, {result.dropped_rows} too long |
| epochs | {result.epochs:g} of at most {recipe.epochs} |
| loss | {result.train_loss:.4f} training, {_or_none(result.validation_loss)} validation |

Whether it may serve is decided by the evaluator on held-out and audited rows, not by these losses.
"""


def _or_none(value: float | None) -> str:
    return "no" if value is None else f"{value:.4f}"

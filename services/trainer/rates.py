"""The learning rate of LoRA where a recipe leaves it to the base model and the rows.

The best one is about ten times that of full fine-tuning, fifteen times in short runs; it hardly
depends on the rank where alpha stays the same, and falls with the width of the model ("LoRA Without
Regret", Thinking Machines 2025).
"""

from __future__ import annotations

from math import ceil

from services.trainer.recipe import TrainingRecipe

# Of full fine-tuning, at a width of 2000.
FULL = 5e-5
WIDTH = 2000
# How it falls with the width, as fitted for Llama's family.
POWER = 0.781
TIMES = 10
TIMES_SHORT = 15
# Updates.
SHORT = 100
# Of narrow models: beyond it a few odd rows undo what was learned.
HIGHEST = 2e-3


def learning_rate(recipe: TrainingRecipe, hidden_size: int, rows: int) -> float:
    """Return the recipe's rate, or the one for a model of this width and for so many rows."""
    if recipe.learning_rate != "auto":
        return recipe.learning_rate
    batch = recipe.batch_size * recipe.accumulation * recipe.processes
    updates = ceil(rows / batch) * recipe.epochs
    times = TIMES_SHORT if updates < SHORT else TIMES
    rate = times * FULL * (WIDTH / hidden_size) ** POWER
    # Two digits, as people write them.
    return float(f"{min(rate, HIGHEST):.1e}")

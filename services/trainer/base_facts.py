"""What is known of a base model and of the machine before a training: by it a recipe is chosen and
checked, while nothing is paid for yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from schemas.base import JsonObject
from services.trainer.recipe import TrainingRecipe, load_recipe
from shared.errors import JobFailed

GIB = 2**30
BILLION = 1e9
# What a route names to have its recipe chosen.
AUTO = "auto"
# Bytes a parameter, reckoned and not measured: LoRA in bf16 takes two for the weights, and about as
# much and a half again for activations and logits; QLoRA half a byte for the weights.
LORA_BYTES = 5.0
QLORA_BYTES = 2.0
CPU_BYTES = 4.0
# Beyond it a CPU takes days for a few hundred rows.
MOST_ON_CPU = 2e9


class BaseFacts(BaseModel):
    """One base model on one machine."""

    model_config = ConfigDict(frozen=True)
    parameters: int
    layers: int
    # What its linear layers are called.
    linear: tuple[str, ...]
    # Tokens that it can attend to; None where its configuration does not say.
    context: int | None
    # What a route must tell the chat template for rows that can be trained on.
    template_arguments: JsonObject = {}
    # Why no rows of it can be trained on, whatever the template is told.
    refused: str | None = None
    # Bytes of each GPU, and of the machine.
    gpus: tuple[int, ...] = ()
    memory: int = 0

    @property
    def size(self) -> str:
        billions = self.parameters / BILLION
        return f"{billions:.1f}B" if billions >= 1 else f"{self.parameters / 1e6:.0f}M"


@dataclass(frozen=True)
class ChosenRecipe:
    recipe: TrainingRecipe
    # Why this one; empty where the route names it.
    because: str = ""


class TooLargeToTrain(JobFailed):
    def __init__(self, facts: BaseFacts, where: str) -> None:
        super().__init__(
            f"a base model of {facts.size} parameters cannot be trained {where}: run the trainer"
            " where a larger GPU is, take a smaller base model, or name a recipe in the route's"
            " retrain.recipe"
        )


class ModulesMissing(JobFailed):
    def __init__(self, missing: set[str], there: set[str]) -> None:
        super().__init__(
            f"the base model has no layers called {', '.join(sorted(missing))}, which the recipe"
            f" adapts; it has {', '.join(sorted(there))}: name those in target_modules, or say"
            " all-linear"
        )


class LayerMissing(JobFailed):
    def __init__(self, first: int, layers: int) -> None:
        super().__init__(
            f"the recipe adapts layers from {first} on, but the base model has only {layers}: lower"
            " first_layer"
        )


class RowsTooLong(JobFailed):
    def __init__(self, recipe: str, max_length: int, context: int) -> None:
        super().__init__(
            f"recipe '{recipe}' trains rows of up to {max_length} tokens, and the base model"
            f" attends to {context}: lower max_length"
        )


def recipe_for(folder: Path, name: str, facts: BaseFacts) -> ChosenRecipe:
    """Return the recipe that a route names, or the one that fits, checked against the base model.

    Raises RecipeUnusable, TooLargeToTrain, ModulesMissing, LayerMissing or RowsTooLong.
    """
    if name != AUTO:
        recipe = load_recipe(folder, name)
        check(recipe, facts)
        return ChosenRecipe(recipe)
    fitting, because = fitting_recipe(facts)
    recipe = load_recipe(folder, fitting)
    if recipe.accelerate_config:
        # All of them were counted.
        recipe = recipe.model_copy(update={"processes": len(facts.gpus)})
    if facts.context and recipe.max_length > facts.context:
        recipe = recipe.model_copy(update={"max_length": facts.context})
        because += f", with rows of up to {facts.context} tokens, to which it attends"
    check(recipe, facts)
    return ChosenRecipe(recipe, f"recipe {fitting}: {because}")


def fitting_recipe(facts: BaseFacts) -> tuple[str, str]:
    """Return the name of the recipe for a base model on this machine, and why. Raises
    TooLargeToTrain.
    """
    if not facts.gpus:
        if facts.parameters > MOST_ON_CPU or facts.parameters * CPU_BYTES > facts.memory:
            raise TooLargeToTrain(facts, f"on a CPU with {facts.memory / GIB:.0f} GiB")
        return "cpu", f"{facts.size} parameters, and no GPU"
    gpu = min(facts.gpus)
    room = f"{facts.size} parameters on a GPU of {gpu / GIB:.0f} GiB"
    if gpu >= facts.parameters * LORA_BYTES:
        return "lora-8b", f"{room}, which has room for its weights in bf16"
    if gpu >= facts.parameters * QLORA_BYTES:
        return "qlora-8b", f"{room}, which has room for its weights in 4 bits alone"
    many, together = len(facts.gpus), sum(facts.gpus)
    if many > 1 and together >= facts.parameters * LORA_BYTES:
        shared = f"on {many} GPUs with {together / GIB:.0f} GiB together"
        return "lora-32b", f"{facts.size} parameters, which no GPU holds, {shared}"
    raise TooLargeToTrain(facts, f"on GPUs with {together / GIB:.0f} GiB")


def check(recipe: TrainingRecipe, facts: BaseFacts) -> None:
    """Raise what is wrong with a recipe for this base model."""
    wanted, there = recipe.target_modules, set(facts.linear)
    if not isinstance(wanted, str) and (missing := set(wanted) - there):
        raise ModulesMissing(missing, there)
    if recipe.first_layer >= facts.layers:
        raise LayerMissing(recipe.first_layer, facts.layers)
    if facts.context and recipe.max_length > facts.context:
        raise RowsTooLong(recipe.name, recipe.max_length, facts.context)

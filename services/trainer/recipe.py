"""A training recipe: everything that changes the weights, in one YAML file that is hashed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import JobFailed


class RecipeUnusable(JobFailed):
    """No such recipe, or one with a mistake in it; the message names the field."""


class TrainingRecipe(BaseModel):
    """How to train, as far as vLLM can serve the result: plain LoRA of a rank that it accepts.

    It refuses DoRA, biases and PiSSA (vllm/lora/peft_helper.py, PEFTHelper.validate_legal).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    rank: Literal[8, 16, 32, 64] = 16
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    first_layer: int = Field(
        0,
        ge=0,
        description=(
            "adapt layers from this one on; with share_prefix those under it are computed once, not"
            " every epoch"
        ),
    )
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        2e-4, description="auto: by the width of the base model and the number of rows (rates.py)"
    )
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_share: float = Field(0.05, ge=0, lt=1)
    epochs: int = Field(3, ge=1)
    rounds: int = Field(
        1,
        ge=1,
        description=(
            "the epochs with their schedule once more, so often at most, while the training rows"
            " are not learned (rounds.py)"
        ),
    )
    batch_size: int = Field(8, ge=1, description="rows per device and step")
    accumulation: int = Field(1, ge=1, description="steps per optimiser update")
    max_length: int = Field(
        1024, ge=16, description="tokens; longer rows are dropped and counted, never cut"
    )
    max_dropped_share: float = Field(0.05, ge=0, le=1)
    patience: int = Field(
        2, ge=1, description="validations without improvement before training stops early"
    )
    precision: Literal["bf16", "fp32"] = "bf16"
    quantization: Literal["none", "nf4"] = "none"
    gradient_checkpointing: bool = False
    attention: Literal["eager", "sdpa", "flash_attention_2"] = "sdpa"
    share_prefix: bool = Field(
        False,
        description=(
            "short rows only: compute the tokens all rows begin with once a batch (packing.py)"
        ),
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="best: the epoch with the lowest validation loss, where at least 100 rows"
        " tell; else the last",
    )
    seed: int = 7
    threads: int | None = Field(None, ge=1, description="CPU threads; all of them by default")
    launcher: Literal["python", "accelerate"] = "python"
    processes: int = Field(1, ge=1, description="GPUs, with the accelerate launcher")
    accelerate_config: str | None = Field(
        None, description="a file beside the recipe: FSDP or DeepSpeed"
    )

    @model_validator(mode="after")
    def layers_have_names(self) -> Self:
        """Refuse a choice of layers without what it needs.

        peft takes one only with a list of modules, and a trunk that is computed once needs rows
        that share their beginning.
        """
        if self.first_layer and (self.target_modules == "all-linear" or not self.share_prefix):
            raise ValueError(
                "first_layer needs share_prefix: true and the names of the target_modules"
            )
        return self

    @model_validator(mode="after")
    def rounds_have_a_schedule(self) -> Self:
        """Refuse rounds of a schedule that transformers cannot repeat."""
        if self.rounds > 1 and self.schedule != "cosine":
            raise ValueError("rounds are for schedule: cosine")
        return self

    @property
    def lean(self) -> bool:
        """Say whether the adapted layers can take the short cut of lean.py."""
        return not self.dropout and self.quantization == "none"

    @property
    def sha256(self) -> str:
        """Return the digest of the content: comments and the order of keys do not count."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def as_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_recipe(folder: Path, name: str) -> TrainingRecipe:
    """Read `<name>.yaml` in `folder`. Raises RecipeUnusable, with the recipes there are."""
    path = folder / f"{name}.yaml"
    known = sorted(found.stem for found in folder.glob("*.yaml"))
    if path.stem not in known or path.parent != folder:
        raise RecipeUnusable(
            f"no recipe '{name}' in {folder.name}/; there are: {', '.join(known)}. Set the route's"
            " retrain.recipe to one of them"
        )
    try:
        return TrainingRecipe.model_validate(yaml.safe_load(path.read_text()) | {"name": name})
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise RecipeUnusable(f"recipe '{name}': {problems_of(error)}") from error


def problems_of(error: ValidationError | yaml.YAMLError | TypeError) -> str:
    """Say what is wrong with a recipe, which its owner wrote: nothing of it is a user's text."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_input=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
